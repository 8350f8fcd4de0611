"""The parser of the command line: its options are the fields of `Configuration`, and those of each command.

Messages are one line.
"""

import argparse
from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any, NoReturn

from numpy_rnn.app.configuration import GROUPS, TEXT, Configuration, option_name, positive, whole
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.packages import versions
from numpy_rnn.common.records import Step

LOG_EVERY = 10  # epochs
MAX_GENERATED = 1_000_000  # free-running steps, or characters of a sample
NOT_OPTIONS: dict[str, set[str]] = {  # of the run, which a command does not have
    "train": set(),
    "compare": {"held_out"},
    "study": {"held_out", "loss", "networks", "max_value", "adagrad", "text"},
}
ABOUT = {
    "train": """\
Train an Elman network to predict the next row of a series. The default experiment is a sine wave of 20 points, one
point at a time for 300 epochs, and a network of six hidden units. With --text, train a character-level language
model, which predicts the next character of a text and writes texts of its own.""",
    "compare": """\
Run this package and other implementations on the same configuration. Check every update of each against its rounding
bounds, report the first divergence and the common mistake it resembles, and measure how far the free-running losses
drift apart. Exit status 1 if an implementation is wrong. OTHER: a package such as {other} or numpy_rnn.reference, a
Python port as module:object, a program that speaks the protocol, or a trace file.""",
    "study": """\
Execute the derivation of the gradient on one run, and write a folder with two pages: lesson.html, how the gradient is
computed and truncated, with figures that compute, and evidence.html, proofs, what truncation costs and what common
mistakes do; the figures as SVG, and the numbers as JSON.""",
}
COMMANDS = """

commands (each has its own --help):
  train            train a network and predict the series; the default command
  compare OTHER    check this package and other implementations against each other, update by update
  study            write a page about how the gradient is computed (numpy_rnn)
  audit SCRIPT     run a training script of PyTorch, and report what its loop computes (torch_rnn)

Exit status: 0; 2 if the input cannot be used; 3 if the run diverged; 70 after an error of the program; 130 after
Ctrl-C, 143 after SIGTERM, 129 after SIGHUP."""
EPILOG = {
    "train": """\
--output writes the results in full precision, in units of the series. It has one row per value; kind is loss,
actual, predicted (one step ahead) or free-running. With --text, it has the losses only.

examples:
  python -m {name} --k1 1 --k2 5                   # gradients over five steps (sliding window)
  python -m {name} --seeds 100                     # 100 networks at once: median and band
  python -m {name} --data series.csv --columns 2 --standardize --held-out 50
  python -m {name} --text book.txt                 # a character-level language model
  python -m {name} --save run.npz                  # also after Ctrl-C
  python -m {name} --resume run.npz --epochs 600 --save run.npz""",
    "compare": """\
examples:
  python -m {name} compare {other} --output results.json    # the same run in both packages
  python -m {name} compare my_rnn:port                      # your own implementation
  python -m {name} compare trace.npz                        # a trace that another program wrote""",
    "study": """\
examples:
  python -m {name} study --k1 1 --k2 5 --folder sliding
  python -m {name} study --data series.csv --columns 2 --standardize --steps 30 --epochs 50""",
}

FLAG, FILE, EVERY = (
    {"action": "store_true"},
    {"metavar": "FILE"},
    {"metavar": "N", "type": whole(1)},
)
LENGTH = {"metavar": "N", "type": whole(0, MAX_GENERATED)}
EVERY_HELP = f"print the loss of every N-th epoch ({LOG_EVERY}); with --text, of every N-th update, and a sample (1000)"
SAVED = (
    "save the weights and the state of the run as .npz: at the end, every 30 s, and after Ctrl-C"
)
TEMPERATURE = "with --text: divide the outputs by T; below 1 the samples are less random (1)"
OTHER_OPTIONS: list[tuple[str, str, str, dict[str, Any], str]] = [  # commands, group, option, kind, help
    ("train compare", "output", "--plot", FILE, "save the plot to this file (named after the package, or compare.png)"),
    ("train compare", "output", "--no-plot", FLAG, "do not plot"),
    ("train compare", "output", "--log-every", EVERY, EVERY_HELP),
    ("train compare", "output", "--generate", LENGTH, "free-running steps after the last row trained on (20)"),
    ("train", "output", "--sample", LENGTH, "with --text: characters of each sample (200)"),
    ("train", "output", "--temperature", {"metavar": "T", "type": positive}, TEMPERATURE),
    ("train", "files", "--save", FILE, SAVED),
    ("train", "files", "--resume", FILE, "continue the run that --save wrote"),
    ("train", "files", "--output", FILE, "write the losses and the predictions as .csv"),
    ("compare", "files", "--output", FILE, "write the results of the comparison as .json"),
    ("compare", "files", "--port-timeout", {"metavar": "SECONDS", "type": positive, "default": 10.0},
     "time limit for one answer of another implementation (10)"),
    ("study", "run", "--seeds", {"metavar": "N", "type": whole(2), "default": 32}, "networks, for the bands (32)"),
    ("study", "run", "--full", FLAG, "train the comparisons of the page on this run too, for a minute"),
    ("study", "series", "--steps", {"metavar": "N", "type": whole(3)}, "study the first N steps (all, at most 40)"),
    ("study", "files", "--folder", {"metavar": "DIR", "default": "study"}, "folder for the page and its files (study)"),
    ("train compare study", "output", "--quiet", FLAG, "print only warnings and errors"),
    ("train compare study", "output", "--traceback", FLAG, "print the traceback of an unexpected error"),
]  # fmt: skip


class Parser(argparse.ArgumentParser):
    """An argument parser that raises InputError with a message of one line."""

    def error(self, message: str) -> NoReturn:
        """Raise InputError with the message and the command that prints the help."""
        raise InputError(f"{message}; see {self.prog} --help")


def parse(
    package: str, words: list[str], commands: Iterable[str] = tuple(ABOUT)
) -> argparse.Namespace:
    """Parse the command line of a package: a command, "train" unless it is named, and its options."""
    command, rest = (
        (words[0], words[1:]) if words and not words[0].startswith("-") else ("train", words)
    )
    commands = ("train", *(name for name in commands if name != "train"))
    if command not in commands:
        raise InputError(f"unknown command {command!r}: expected {' or '.join(commands)}")
    if "--version" in rest:
        print(versions(package))
        raise SystemExit(0)
    own = parser(package, command)
    for word in rest:
        if word.endswith("=--"):  # argparse of Python 3.11 drops this value and checks nothing
            own.error(f"argument {word.removesuffix('=--')}: -- is no value")
    parsed, unknown = own.parse_known_args(rest)
    if unknown:
        from difflib import get_close_matches  # it takes time to import

        known = get_close_matches(unknown[0].partition("=")[0], own._option_string_actions, 1)
        own.error(
            f"unknown argument {unknown[0]!r}{f' (did you mean {known[0]}?)' if known else ''}"
        )
    return parsed


def parser(package: str, command: str) -> Parser:
    """The parser of one command of a package."""
    about = ABOUT[command] + (COMMANDS if command == "train" else "")
    names = {"name": package, "other": "torch_rnn" if package == "numpy_rnn" else "numpy_rnn"}
    words = {"train": "[train] [options]", "compare": "compare [options] OTHER ..."}
    made = Parser(
        f"python -m {package} {command}",
        usage=f"python -m {package} {words.get(command, f'{command} [options]')}",
        description=about.format(**names),
        epilog=EPILOG[command].format(**names),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.set_defaults(command=command)
    if command == "compare":
        made.add_argument(
            "others", metavar="OTHER", nargs="+", help="an implementation to compare with"
        )
    made.add_argument("--version", action="store_true", help="print the versions")
    groups = {group: made.add_argument_group(group) for group in GROUPS}
    for each in fields(Configuration):
        if each.name in NOT_OPTIONS[command]:
            continue
        # An option that is not given is None: Configuration has the defaults.
        details = {"dest": each.name, "default": None, **each.metadata["details"]}
        groups[each.metadata["group"]].add_argument(option_name(each.name), **details)
    for commands, group, name, kind, help in OTHER_OPTIONS:
        if command in commands:
            groups[group].add_argument(name, help=help, **kind)
    return made


# When a run is resumed. A velocity is no sum of squares, so Adagrad does not continue momentum, nor momentum Adagrad.
CHANGEABLE = ("epochs", *(name for name in Step._fields if name != "adagrad"), "data", "text")


def configuration_of(arguments: argparse.Namespace) -> Configuration:
    """The configuration that the arguments give."""
    given = given_options(arguments)
    if "k1" in given:
        given = {"k2": given["k1"]} | given
    if "text" in given:
        excluded = {
            "weights": ("hidden_size", "bias"),
            "max_norm": ("max_value",),
            "momentum": ("adagrad",),
        }
        left_out = {name for option, names in excluded.items() if option in given for name in names}
        defaults = {name: value for name, value in TEXT.items() if name not in left_out}
        if arguments.command == "compare":  # it keeps all numbers of every update
            defaults["epochs"] = 1
        given = defaults | given
    return Configuration(**given)


def given_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options of the run that are given."""
    values = {each.name: getattr(arguments, each.name, None) for each in fields(Configuration)}
    return {name: value for name, value in values.items() if value is not None}


def resumed_configuration(
    arguments: argparse.Namespace, configuration: Configuration
) -> Configuration:
    """The configuration of a resumed run with the changes of the arguments. Raises InputError if it is another run."""
    given = given_options(arguments)
    for name in given:
        if name not in CHANGEABLE or (
            name in ("data", "text") and getattr(configuration, name) is None
        ):
            changeable = ", ".join(map(option_name, CHANGEABLE))
            raise InputError(
                f"{option_name(name)} is given with --resume: expected none but {changeable} of that run"
            )
    return replace(configuration, **given)
