"""The files that a command writes: what is refused before the work begins."""

import importlib
import os
import sys
from importlib.util import find_spec

from numpy_rnn.app.options import Configuration
from numpy_rnn.common.errors import InputError

INPUTS = ("data", "text", "weights")
ENDINGS = {
    "save": (".npz",),
    "output": (".csv",),
    "plot": (".png", ".pdf", ".svg", ".jpg"),
}


def check_files(options: Configuration, plot: str | None) -> None:
    """Raise InputError if an output could not be written, or is another file of the
    command.
    """
    options_of: dict[str, str] = {}  # by their files
    for name in (*INPUTS, *ENDINGS):
        path = plot if name == "plot" else getattr(options, name)
        if path is None:
            continue
        if name in ENDINGS:
            check_output(f"--{name} {path}", path, ENDINGS[name])
        first = options_of.setdefault(os.path.realpath(path), name)
        if first != name:
            raise InputError(
                f"--{first} and --{name} both name {path}: expected different files"
            )


def check_output(given: str, path: str, endings: tuple[str, ...]) -> None:
    """Raise InputError if a file could not be written. given: its option in words."""
    folder = os.path.dirname(os.path.realpath(path))
    if os.path.exists(path) and not os.path.isfile(path):
        raise InputError(f"{given} is no regular file: choose another name")
    if not (os.path.isdir(folder) and os.access(folder, os.W_OK)):
        raise InputError(
            f"{given}: its folder cannot be written to: choose another one"
        )
    if os.path.splitext(path)[1].lower() not in endings:
        expected = " or ".join(endings)
        raise InputError(f"{given}: expected a name that ends with {expected}")


def plot_target(options: Configuration, name: str) -> str | None:
    """Return the file of the plot; None without one. Without Matplotlib and --plot,
    print a note.

    Raises InputError if Matplotlib cannot be imported.
    """
    is_text_run = options.text is not None and options.command == "train"
    if options.no_plot or is_text_run:
        return None
    if options.plot is None and find_spec("matplotlib") is None:
        print(f"{name}: no plot: matplotlib is not installed", file=sys.stderr)
        return None
    try:
        importlib.import_module("matplotlib")
    except (ImportError, ValueError) as error:  # ValueError: MPLBACKEND is unknown
        why = f"matplotlib cannot be imported ({error})"
        raise InputError(f"{why}: install it, or use --no-plot") from None
    default = name if options.command == "train" else options.command
    return options.plot or f"{default}.png"
