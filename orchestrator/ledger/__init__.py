"""The ledger: which rows made which step, written by the ranks, held against the order."""
