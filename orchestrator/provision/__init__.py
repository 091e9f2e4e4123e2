"""Clusters: one for development on this machine, and the files from which others are made."""
