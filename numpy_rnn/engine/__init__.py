"""The engine: the training of `numpy_rnn`. As a backend, `numpy_rnn.engine` is `numpy_rnn` under another name.

README.md in this folder describes the layout of its memory, and why it is so.
"""

from typing import Any

import numpy_rnn


def __getattr__(name: str) -> Any:
    return getattr(numpy_rnn, name)
