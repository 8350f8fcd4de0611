"""The equivalence suite: checks any implementation of the network against rounding
bounds.

`ports.port.Port` describes what an implementation provides, `case.py` one case and its
outputs.
"""
