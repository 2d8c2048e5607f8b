"""Functions of functions: derivatives in JAX's names."""
