"""python -m torch_rnn"""

import sys

import torch_rnn
from numpy_rnn.app.command_line import main

if __name__ == "__main__":
    sys.exit(main(torch_rnn))
