"""Register tiles of matrices."""
