"""Parallelism: teams of threads that share the parts of a piece of work."""
