"""How fast the two packages train on a CPU, and whether what is claimed of it holds: `python -m benchmarks`."""
