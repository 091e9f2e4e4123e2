"""Jobs on a cluster: packing the code, submitting it, following, stopping."""
