"""Mistakes that people make, as mutants of the definition, and the hints that are made
of them.
"""
