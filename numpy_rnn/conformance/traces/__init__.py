"""Traces of whole runs: how they are made, validated and judged update by update (L3), and their drift."""
