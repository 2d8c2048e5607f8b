"""Threads that share the parts of a piece of work."""
