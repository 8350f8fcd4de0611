"""The one exception for input that cannot be used."""


class InputError(ValueError):
    """Something a user gave cannot be used.

    The message is one line: what was wrong (with the value), what was expected, what to do. The
    command line prints it on standard error and ends with status 2; nothing is half written.
    """


class Choices(dict):
    """A table of named alternatives whose look-up explains itself when the name is unknown."""

    def __init__(self, what: str, /, **alternatives):
        super().__init__(alternatives)
        self.what = what

    def __missing__(self, name):
        raise InputError(f"unknown {self.what} {name!r}: expected {' or '.join(self)}")
