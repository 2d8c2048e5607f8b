"""Elementary functions and accurate long sums, for kernels."""
