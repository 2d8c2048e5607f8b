"""The Wengert list: instructions in arrays, their listing, the reverse walk, and checkpointing."""
