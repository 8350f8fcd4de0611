"""The study of the gradient: DERIVATION.md executed, `python -m numpy_rnn study`."""
