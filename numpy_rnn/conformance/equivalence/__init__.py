"""Check whether two implementations of a function are equal within rounding."""
