"""Loops that can be differentiated: adjoints derived from the source of a user's function."""
