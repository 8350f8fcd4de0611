"""The reference: the functions of `numpy_rnn`, with the plain training loop of
`tbptt.py`.

`numpy_rnn` trains with the engine instead. Use this module to compare the two, or to
run the code that one reads.
"""

from numpy_rnn.public import *  # noqa: F403
from numpy_rnn.public import __all__ as __all__
from numpy_rnn.tbptt import train as train  # in place of the engine's
