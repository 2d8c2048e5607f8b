"""Matrix products: by register tiles where they are small, by a BLAS library where they are large."""
