"""Implementations of the network from anywhere: packages, Python objects,
and programs.
"""
