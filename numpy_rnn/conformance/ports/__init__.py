"""Implementations of the network from anywhere: packages, Python objects, programs that speak a protocol."""
