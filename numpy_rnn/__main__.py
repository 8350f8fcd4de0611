"""python -m numpy_rnn"""

import sys

import numpy_rnn
from numpy_rnn.app.command_line import main

if __name__ == "__main__":
    sys.exit(main(numpy_rnn))
