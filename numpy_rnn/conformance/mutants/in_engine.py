"""Mistakes of the engine."""

MISTAKES = ()
