"""Scripts of others that do what a job of ours does, as a competent engineer would write them."""
