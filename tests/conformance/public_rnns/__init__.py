"""Public RNNs that people wrote by hand, in the style of each author, as ports; test_partial_ports.py judges them."""
