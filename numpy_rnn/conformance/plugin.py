"""The options of `pytest --pyargs numpy_rnn.conformance --elman-backend module:object`.

This is an entry-point plugin, because pytest reads no options from the conftest of an
installed package. pytest loads it in every run, also of other projects. So all options
start with --elman-, and nothing but the standard library is imported until one of them
names a port. `session.py` does the work.
"""

import argparse
import typing
from collections.abc import Callable

if typing.TYPE_CHECKING:
    import pytest


def whole(smallest: int) -> Callable[[str], int]:
    """Return the type of an option: a whole number, `smallest` or more."""

    def read(text: str) -> int:
        if text.isdecimal() and int(text) >= smallest:
            return int(text)
        expected = f"expected a whole number, {smallest} or more"
        raise argparse.ArgumentTypeError(f"{text!r}: {expected}")

    return read


def sizes(text: str) -> str | dict[str, int]:
    """Return the word "few", or sizes by their letters."""
    if text == "few":
        return text
    shape = dict[str, int]()
    try:
        for part in text.split(","):
            letter, size = part.split("=")
            shape[letter] = int(size)
    except ValueError:
        expected = "expected few, or sizes as H=6,D=3"
        raise argparse.ArgumentTypeError(f"{text!r}: {expected}") from None
    return shape


# The name of an option, what it takes, its type, and its help.
OPTIONS: tuple[tuple[str, str, Callable[[str], object], str], ...] = (
    (
        "backend",
        "PORT",
        str,
        "implementation under test: module:object, or a package as torch_rnn",
    ),
    (
        "command",
        "COMMAND",
        str,
        "implementation under test: a program that speaks the port protocol",
    ),
    ("examples", "N", whole(1), "number of windows per test (100)"),
    ("seed", "N", whole(0), "seed of the cases (another one in every run)"),
    (
        "sizes",
        "SIZES",
        sizes,
        "few: four shapes, for compiled code; H=6,D=3: only these",
    ),
    (
        "timeout",
        "SECONDS",
        whole(1),
        "time limit of one answer of a program (10; in Python 60)",
    ),
)


def pytest_addoption(parser: "pytest.Parser") -> None:
    """Add the options of the suite to those of pytest."""
    group = parser.getgroup("elman", "equivalence suite (numpy_rnn.conformance)")
    for name, metavar, kind, text in OPTIONS:
        group.addoption(f"--elman-{name}", metavar=metavar, type=kind, help=text)


def pytest_configure(config: "pytest.Config") -> None:
    """Create the named port before the collection, and register the suite."""
    ports = [config.getoption(f"elman_{name}", None) for name in ("backend", "command")]
    arguments = config.args if config.getoption("pyargs", False) else []
    is_asked = any(name.startswith("numpy_rnn.conformance") for name in arguments)
    if not is_asked and ports == [None, None]:
        return
    import pytest

    if ports.count(None) != 1:
        expected = "expected --elman-backend module:object or --elman-command 'program'"
        raise pytest.UsageError(f"no implementation to test: {expected}")
    from numpy_rnn.conformance.session import Suite

    config.pluginmanager.register(Suite(config), "elman-suite")
