"""Training seen: what a run is made of, step by step."""
