"""What will happen: pure functions from a spec and an index to a plan that can be printed."""
