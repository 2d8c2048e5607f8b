"""What a recording keeps, for how long, where, and in which order it runs."""
