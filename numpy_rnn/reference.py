"""The reference: the functions of `numpy_rnn`, with the plain training loop of `tbptt.py`.

`numpy_rnn` and `numpy_rnn.engine` have these functions too, but train with the engine. Use this module to compare the
two, or to run the code that one reads.
"""

import numpy_rnn
from numpy_rnn import *  # noqa: F403
from numpy_rnn.tbptt import train as train
from numpy_rnn.tbptt import train_stream as train_stream

__all__ = numpy_rnn.__all__
