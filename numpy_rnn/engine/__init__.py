"""The engine: the training of `numpy_rnn`, the equations of the reference in place. README.md describes its memory."""
