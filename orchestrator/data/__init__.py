"""The stream: Ray Data reads and transforms windows of the sample order and feeds the workers."""
