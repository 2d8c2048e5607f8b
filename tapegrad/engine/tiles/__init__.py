"""Tiles of matrices in vector registers."""
