"""The training loop and what a user's task plugs into it."""
