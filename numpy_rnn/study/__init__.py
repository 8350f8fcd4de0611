"""The study of the gradient: DERIVATION.md executed, `numpy-rnn study`."""
