"""The arithmetics of the definition: values, rounding bounds, and random roundings."""
