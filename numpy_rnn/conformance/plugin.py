"""The options of `pytest --pyargs numpy_rnn.conformance --elman-backend module:object`.

This is an entry-point plugin, because pytest reads no options from the conftest of an
installed package. pytest loads it in every run, also of other projects. So all options
start with --elman-, and nothing but the standard library is imported until one of them
names a port. `session.py` does the work.
"""

import argparse
import contextlib


def whole(smallest):
    """Return the type of an option: a whole number, `smallest` or more."""

    def read(text):
        if not (text.isdecimal() and int(text) >= smallest):
            expected = f"expected a whole number, {smallest} or more"
            raise argparse.ArgumentTypeError(f"{text!r}: {expected}")
        return int(text)

    return read


def sizes(text):
    """Return the word "few", or sizes by their letters."""
    if text == "few":
        return text
    with contextlib.suppress(ValueError):
        pairs = (part.split("=") for part in text.split(","))
        shape = {letter: whole(1)(size) for letter, size in pairs}
        if shape.keys() <= {*"TBDHOK"} and shape.get("K", 1) <= shape.get(
            "T", float("inf")
        ):
            return shape
    raise argparse.ArgumentTypeError(
        f"{text!r}: expected few, or sizes as H=6,D=3, with K ≤ T"
    )


SUITE_OPTIONS = {
    "backend": (
        "PORT",
        "implementation under test: module:object, or a package as torch_rnn",
    ),
    "command": (
        "COMMAND",
        "implementation under test: a program that speaks the port protocol",
    ),
    "examples": ("N", "number of windows per test (100)"),
    "seed": ("N", "seed of the cases (another one in every run)"),
    "sizes": ("SIZES", "few: four shapes, for compiled code; H=6,D=3: only these"),
    "timeout": ("SECONDS", "time limit of one answer of a program (10; in Python 60)"),
}
TYPES = {"examples": whole(1), "seed": whole(0), "sizes": sizes, "timeout": whole(1)}


def pytest_addoption(parser):
    add = parser.getgroup(
        "elman", "equivalence suite (numpy_rnn.conformance)"
    ).addoption
    for name, (metavar, text) in SUITE_OPTIONS.items():
        add(f"--elman-{name}", metavar=metavar, help=text, type=TYPES.get(name, str))


def pytest_configure(config):
    """Create the named port before the collection, and register the suite."""
    named = [config.getoption(f"elman_{name}", None) for name in ("backend", "command")]
    arguments = config.args if config.getoption("pyargs", False) else []
    asked = any(argument.startswith("numpy_rnn.conformance") for argument in arguments)
    if not asked and named == [None, None]:
        return
    import pytest

    if None not in named or named == [None, None]:
        expected = "expected --elman-backend module:object or --elman-command 'program'"
        raise pytest.UsageError(f"no implementation to test: {expected}")
    from numpy_rnn.conformance.session import Suite

    config.pluginmanager.register(Suite(config), "elman-suite")
