"""Benchmarks of training on a CPU, and the claims that they check: `python -m benchmarks`."""
