"""Elementary functions and long sums, for kernels."""
