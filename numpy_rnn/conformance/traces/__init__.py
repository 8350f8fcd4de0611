"""Whole runs: made, checked for their form, judged update by update (L3), and their drift measured."""
