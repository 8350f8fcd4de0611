"""The arithmetics that the definition runs on: what its lines compute depends on the numbers alone."""
