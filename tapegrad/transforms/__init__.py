"""Transformations of functions: derivatives in JAX's names."""
