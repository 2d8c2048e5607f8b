"""Products of matrices: by tiles where they are small, by a BLAS library where they are not."""
