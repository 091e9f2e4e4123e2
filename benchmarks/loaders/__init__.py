"""Ways to bring rows to a consumer, ours and those that people use today, one a file."""
