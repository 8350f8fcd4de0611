"""The equivalence suite: holds any implementation of the network against derived rounding bounds.

README.md of the project says how to plug a port in; `case.py` what a port is asked and what it owes.
"""
