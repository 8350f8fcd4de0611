"""Public RNNs that people wrote by hand, in the style of each author, as ports; test_public_rnns.py gives verdicts."""
