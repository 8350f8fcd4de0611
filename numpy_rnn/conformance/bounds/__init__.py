"""Rounding bounds of correct computations: of every stage from its own inputs (L1), and in all, by an oracle (L2)."""
