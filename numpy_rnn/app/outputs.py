"""The files that a command writes: what is refused before the work begins."""

import importlib
import os
import sys

from numpy_rnn.app.options import Configuration
from numpy_rnn.common.errors import InputError

ENDINGS = {
    "save": (".npz",),
    "output": (".csv",),
    "plot": (".png", ".pdf", ".svg", ".jpg"),
}


def check_files(options: Configuration, plot: str | None) -> None:
    """Check, before the work begins, the files that a command writes.

    Parameters
    ----------
    options : Configuration
        Its files are `data`, `text`, `weights`, `save` and `output`.
    plot : str or None
        The file of the plot.

    Raises
    ------
    InputError
        If an output cannot be written, has another ending than its kind, or is another
        file of the command.
    """
    options_of = dict[str, str]()  # by their files
    for name in ("data", "text", "weights", *ENDINGS):
        path = plot if name == "plot" else getattr(options, name)
        if path is None:
            continue
        real = os.path.realpath(path)
        given = f"--{name} {path}"
        first = options_of.setdefault(real, name)
        if first != name:
            raise InputError(
                f"--{first} and --{name} both name {path}: expected different files"
            )
        expected = ENDINGS.get(name)
        if expected is None:
            continue
        if not os.access(os.path.dirname(real), os.W_OK):
            what = "its folder cannot be written to"
            raise InputError(f"{given}: {what}: choose another")
        if not path.lower().endswith(expected):
            names = " or ".join(expected)
            raise InputError(f"{given}: expected a name that ends with {names}")


def plot_target(options: Configuration, name: str) -> str | None:
    """Choose the file of the plot. Without Matplotlib and without --plot, print a note.

    Parameters
    ----------
    options : Configuration
        --plot and --no-plot.
    name : str
        The name of the package, of which the usual file of `train` has its name.

    Returns
    -------
    str or None
        The file; None without a plot.

    Raises
    ------
    InputError
        If --plot is given and Matplotlib cannot be imported.
    """
    default = f"{options.command}.png"
    if options.command == "train":
        default = f"{name}.png"
        if options.text is not None:
            if options.plot is not None:
                raise InputError("--text and --plot are both given: leave one out")
            return None
    if options.no_plot:
        return None
    try:
        importlib.import_module("matplotlib")
    except (ImportError, ValueError) as error:  # ValueError: MPLBACKEND is unknown
        if options.plot is None:
            print(f"{name}: no plot: {error}", file=sys.stderr)
            return None
        why = f"matplotlib cannot be imported ({error})"
        raise InputError(f"{why}: install it, or use --no-plot") from None
    return options.plot or default
