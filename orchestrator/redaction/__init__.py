"""Secrets, taken out of every text that leaves the process: logs, plans, events, errors."""
