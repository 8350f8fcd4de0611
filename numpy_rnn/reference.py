"""The reference: the functions of `numpy_rnn`, with the plain training loop of
`tbptt.py`.

`numpy_rnn` trains with the engine instead. Use this module to compare the two, or to
run the code that one reads.
"""

import numpy_rnn
from numpy_rnn import *  # noqa: F403
from numpy_rnn.tbptt import plain_train

train = plain_train
__all__ = numpy_rnn.__all__
