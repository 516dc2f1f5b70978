"""Word training in large blocks through torch: on a GPU, and for tests on the processor."""
