"""A run: what it is, what it starts from, how it goes on, where it ends."""
