"""The fast engine."""

from numpy_rnn.engine.training import train
