"""The training of `numpy_rnn`: the equations of the reference, in place. README.md
explains it.
"""
