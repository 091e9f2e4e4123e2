"""The benchmarks, one a file; each has NAME, TITLE and `run(settings) -> Outcome`."""
