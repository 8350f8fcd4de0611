"""The options of the command line, and the configuration that they ask for."""

import argparse
from math import isfinite

from numpy_rnn.common.configuration import DTYPES, Configuration
from numpy_rnn.common.errors import InputError

COMMANDS = ("train", "compare")
DESCRIPTION = """\
An Elman network learns to predict the next row of a series. Without options: a sine wave, one point at a time, 300
epochs over 20 points, six hidden units. A second command, `compare`, holds another implementation
against this one; it has a --help of its own."""
COMPARISON = """\
Run this package and another implementation on the same configuration: both loss columns, every update of both held to
its rounding bounds, the first divergence with what it looks like, and the drift of the two left to run freely. Exit
status 1 when one of them is wrong."""
OTHER = "a package such as {other}, a Python port as module:object, a program that speaks the protocol, or a trace file"
EXAMPLES = """\
examples:
  python -m {name}                                the main job
  python -m {name} --k1 1 --k2 5                  gradients that reach five steps back
  python -m {name} --seeds 100                    100 initial weights at once
  python -m {name} --data series.csv --epochs 50  a series of your own, a row a time step
  python -m {name} --save weights.npz             keep the weights; --weights weights.npz goes on from them
  python -m {name} compare {other}              the same run in both packages, every update judged
  python -m {name} compare my_rnn:port            the same against an implementation of your own"""


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line."""

    def error(self, message):
        raise InputError(f"{message}; see {self.prog} --help")


def whole_number(least):
    """A parser of whole numbers of at least this size."""

    def parse(text):
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number, {least} or more")
        return value

    return parse


def rate(text):
    """A parser of learning rates."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not isfinite(value) or value < 0:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a finite number, 0 or more")
    return value


def parser(name: str) -> argparse.ArgumentParser:
    """The parser for the package of this name."""
    other = {"numpy_rnn": "torch_rnn"}.get(name, "numpy_rnn")
    top = Parser(f"python -m {name}", allow_abbrev=False)
    commands = top.add_subparsers(dest="command", metavar="command")
    about = {
        "train": DESCRIPTION,
        "compare": COMPARISON,
    }
    for command in COMMANDS:
        sub = commands.add_parser(
            command,
            description=about[command],
            epilog=EXAMPLES.format(name=name, other=other),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if command == "compare":
            sub.add_argument("other", metavar="OTHER", help=OTHER.format(other=other))
        _add_options(sub, name, command)
    return top


def _add_options(sub, name, command):
    run = sub.add_argument_group("the run")
    add = run.add_argument
    add("--epochs", type=whole_number(0), default=300, metavar="N", help="passes over the series (300)")
    add("--learning-rate", type=rate, default=0.1, metavar="RATE", help="of SGD (0.1)")
    add("--hidden-size", type=whole_number(1), metavar="H", help="hidden units (6, or what --weights holds)")
    add("--k1", type=whole_number(1), default=1, metavar="STEPS", help="new steps an update (1)")
    add("--k2", type=whole_number(1), metavar="STEPS", help="steps the gradient reaches over, new ones included (k1)")
    add("--nonlinearity", choices=("tanh", "relu"), default="tanh", help="(tanh)")
    add("--reduction", choices=("sum", "mean"), default="sum", help="of the loss (sum)")
    add("--bias", action=argparse.BooleanOptionalAction, help="train biases too (no, or what --weights holds)")
    add("--dtype", choices=DTYPES, help="(float32, or what --weights holds)")
    add("--seed", type=whole_number(0), default=0, metavar="N", help="of the initial weights (0)")
    add(
        "--seeds",
        type=whole_number(1),
        metavar="N",
        help="train N initial weights at once, from --seed on: median, band",
    )
    files = sub.add_argument_group("files")
    add = files.add_argument
    add("--data", metavar="FILE", help=".csv, .txt or .npy: a row a time step, a column a feature (the sine wave)")
    add("--weights", metavar="FILE", help="initial weights, .npz, from --save of either package")
    if command == "train":
        add("--save", metavar="FILE", help="write the trained weights as .npz")
        add("--trace", metavar="FILE", help="write everything of every update as .npz")
    else:
        add("--json", metavar="FILE", help="write what the comparison found as JSON")
    output = sub.add_argument_group("output")
    add = output.add_argument
    add("--plot", metavar="FILE", help=f"draw the picture to this file ({picture_name(name, command)})")
    add("--show", action="store_true", help="show the picture in a window; a file only when --plot names one")
    add("--no-plot", action="store_true", help="no picture")
    add("--log-every", type=whole_number(1), default=10, metavar="N", help="print every N-th epoch (10)")
    add("--generate", type=whole_number(0), default=20, metavar="N", help="free-running steps after the series (20)")


def picture_name(name, command):
    """The file of the picture when none is named."""
    return f"{name}.png" if command == "train" else "compare.png"


def configuration_of(arguments) -> Configuration:
    """The run that the arguments ask for."""
    return Configuration(
        epochs=arguments.epochs,
        learning_rate=arguments.learning_rate,
        k1=arguments.k1,
        k2=arguments.k1 if arguments.k2 is None else arguments.k2,
        hidden_size=arguments.hidden_size,
        nonlinearity=arguments.nonlinearity,
        reduction=arguments.reduction,
        bias=arguments.bias,
        dtype=arguments.dtype,
        seed=arguments.seed,
        networks=arguments.seeds,
        data=arguments.data,
        weights=arguments.weights,
    )
