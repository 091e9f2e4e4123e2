"""Measurements that a user can repeat: each module prints a table."""
