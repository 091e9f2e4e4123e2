"""What people see of a run: its progress while it lives and its summary afterwards."""
