"""Recordings that run: steps, epochs, compiled functions."""
