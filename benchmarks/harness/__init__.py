"""What all benchmarks share: repetitions, figures, the page they are shown on."""
