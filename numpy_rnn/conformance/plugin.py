"""The options of `pytest --pyargs numpy_rnn.conformance --elman-backend module:object`.

This is an entry-point plugin, because pytest reads no options from the conftest of an installed package. pytest loads
it in every run, also of other projects. So all options start with --elman-, and nothing but the standard library is
imported until one of them names a port, also not by the packages that it is in. `suite.py` does the work.
"""

import argparse
import math


def seconds(text):
    """A positive, finite number of seconds."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a finite number, above 0")
    return value


def whole(smallest):
    """The type of an option: a whole number, `smallest` or more."""

    def read(text):
        if not (text.isdecimal() and int(text) >= smallest):
            raise argparse.ArgumentTypeError(
                f"{text!r}: expected a whole number, {smallest} or more"
            )
        return int(text)

    return read


def sizes(text):
    """The word "few", or sizes by their letters."""
    if text == "few":
        return text
    try:
        return {
            letter: whole(1)(size) for letter, size in (part.split("=") for part in text.split(","))
        }
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected few, or sizes as H=6,D=3") from None


def pytest_addoption(parser):
    """Add the options."""
    add = parser.getgroup("elman", "equivalence suite (numpy_rnn.conformance)").addoption
    add(
        "--elman-backend",
        metavar="PORT",
        help="implementation under test: module:object, or a package as torch_rnn",
    )
    add(
        "--elman-command",
        metavar="COMMAND",
        help="implementation under test: a program that speaks the port protocol",
    )
    add(
        "--elman-level",
        choices=("L0", "L1", "L2", "L3", "all"),
        default="all",
        help="level to check (all)",
    )
    add(
        "--elman-profile",
        choices=("default", "repeatable", "long"),
        default="default",
        help="repeatable: the same cases here; long: 5000",
    )
    add("--elman-examples", type=whole(1), metavar="N", help="number of windows per test (100)")
    add(
        "--elman-sizes",
        type=sizes,
        metavar="SIZES",
        help="few: four shapes, for compiled code; H=6,D=3: only these",
    )
    add(
        "--elman-timeout",
        type=seconds,
        default=10.0,
        metavar="SECONDS",
        help="time limit of one answer (10)",
    )
    add("--elman-dump", metavar="FILE", help="write the first failing case as .json")
    add(
        "--elman-replay",
        metavar="FILE",
        help="run the case that --elman-dump wrote, and nothing else",
    )
    add(
        "--elman-output",
        metavar="FILE",
        help="write the worst ratio of every tensor and its case as .json",
    )


def pytest_configure(config):
    """Create the named port before the collection, and register the suite."""
    where, command = (
        config.getoption("elman_backend", None),
        config.getoption("elman_command", None),
    )
    asked = config.getoption("pyargs", False) and any(
        arg.startswith("numpy_rnn.conformance") for arg in config.args
    )
    if not asked and where is None and command is None:
        return
    import pytest

    if (where is None) == (command is None):
        expected = "expected --elman-backend module:object or --elman-command 'program'"
        raise pytest.UsageError(f"no implementation to test: {expected}")
    try:
        from numpy_rnn.conformance.suite import Suite
    except ModuleNotFoundError as error:
        raise pytest.UsageError(
            f"{error.name} is not installed: the equivalence suite needs it; run pip install 'elman-twice[conformance]'"
        ) from None
    config.elman_suite = Suite(config)
    config.pluginmanager.register(config.elman_suite, "elman-suite")
