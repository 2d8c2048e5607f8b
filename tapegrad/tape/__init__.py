"""The Wengert list: rows of instructions, their listing, and the walk back."""
