"""The compiled loops over instructions."""
