"""The options of `python -m benchmarks`."""

import argparse
import os
from pathlib import Path

from benchmarks.intervals import LEAST_VALUES

LEAST_STEPS = 10_000  # so that even the shortest run, of a hundredth, fills its windows

DESCRIPTION = """\
Time the main job (a sine wave, one SGD step a point) in numpy_rnn and torch_rnn against the usual PyTorch tutorial
program, `import numpy_rnn` against `import numpy`, and the checks of the equivalence suite; and measure the memory of
long runs, on a mapped file and on a stream. Every row must first give the tutorial's loss curve, to rounding; one that
does not is not timed. Rounds are interleaved in random order, ratios are paired within a round, and [a, b] is the
interval that holds the true median with 95 % confidence. A claim holds where its whole interval does: on a busy
machine, look at the noise floor first, and ask for more rounds."""
EPILOG = "Exit status: 0 if every row agrees and every claim holds, 1 if not, 2 if an option cannot be used."


class OneLineParser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, f"{self.prog}: {message} (--help lists the options)\n")


def parse_options(arguments=None) -> argparse.Namespace:
    parser = OneLineParser("python -m benchmarks", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument(
        "--rounds", type=at_least(LEAST_VALUES), default=15, help="rounds of measurements, about 4 s each (%(default)s)"
    )
    parser.add_argument(
        "--epochs", type=at_least(1), default=300, help="epochs of a training run, 20 points each (%(default)s)"
    )
    parser.add_argument(
        "--dtype", choices=("float32", "float64"), default="float32", help="of weights and series (%(default)s)"
    )
    parser.add_argument("--threads", type=at_least(1), default=1, help="of BLAS and of torch (%(default)s)")
    parser.add_argument(
        "--steps",
        type=at_least(LEAST_STEPS),
        default=1_000_000,
        help="of the longest run whose memory is measured; others are 10 and 100 times shorter (%(default)s)",
    )
    parser.add_argument("--json", type=new_file, metavar="FILE", help="write every single measurement to FILE")
    return parser.parse_args(arguments)


def at_least(least: int):
    def number(text):
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} given: expected a whole number, {least} or more")
        return int(text)

    return number


def new_file(text: str) -> Path:
    """The path of a file that can be written: asked before the run, and not after it."""
    path = Path(text)
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"cannot write {text!r}: expected a file in a directory that can be written")
    return path
