"""Walks: the compiled loops over instructions."""
