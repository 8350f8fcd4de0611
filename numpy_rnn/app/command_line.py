"""The command line of both packages: `python -m numpy_rnn` and `python -m
torch_rnn`.
"""

import contextlib
import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from numpy_rnn.app import plots
from numpy_rnn.app.experiment import prepare, save_run
from numpy_rnn.app.options import RUN, Configuration, parse
from numpy_rnn.app.run import Diverged, TextRun, Trainer, heading, write_csv
from numpy_rnn.common.errors import InputError, failed, printable

ENDINGS = {
    "save": (".npz",),
    "output": (".csv",),
    "plot": (".png", ".pdf", ".svg", ".jpg"),
}


def main(rnn: Any, arguments: list[str] | None, commands: Mapping[str, str]) -> int:
    """Run a command of the package `rnn`. commands: "module:function", imported if it
    is used.

    Returns the exit status: that of the command if nothing fails; 2 if the input cannot
    be used or the output not be written; 1 if a run diverges or the reader of the
    output is gone, as in `| head`; 130 after Ctrl-C. One line says why. Other errors
    are raised.
    """
    name, words = rnn.__name__, sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        if hasattr(
            stream, "reconfigure"
        ):  # for characters that the terminal does not have
            stream.reconfigure(errors="backslashreplace")
    try:
        status = run_command(rnn, words, commands)
        if sys.stdout is not None:
            sys.stdout.flush()
        return status
    except InputError as error:
        return failed(name, 2, str(error))
    except Diverged as error:
        return failed(name, 1, str(error))
    except MemoryError:
        advice = "choose fewer hidden units, networks, steps or rows"
        return failed(name, 2, f"there is not enough memory: {advice}")
    except KeyboardInterrupt as error:
        return failed(name, 130, str(error) or "interrupted")
    except OSError as error:
        # Standard output is redirected, so that Python's own flush at exit succeeds.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return 1
        return failed(
            name, 2, f"the output cannot be written: {error.strerror or error}"
        )


def run_command(rnn: Any, words: list[str], commands: Mapping[str, str]) -> int:
    """Run the command that the words name. Returns its exit status."""
    options = parse(rnn.__name__, words, commands)
    with (
        contextlib.redirect_stdout(None) if options.quiet else contextlib.nullcontext()
    ):
        if options.command == "train":
            return train(rnn, options)
        module, _, function = commands[options.command].partition(":")
        return getattr(importlib.import_module(module), function)(rnn, options) or 0


def check_files(options: Configuration, plot: str | None) -> None:
    """Raise InputError if an output could not be written, or is another file of the
    command.
    """
    names: dict[str, str] = {}  # of options, by their files
    for name in ("data", "text", "weights", "save", "output", "plot"):
        path = plot if name == "plot" else getattr(options, name)
        if path is None:
            continue
        real, given = os.path.realpath(path), f"--{name} {path}"
        if endings := ENDINGS.get(name):
            folder = os.path.dirname(real)
            if os.path.exists(path) and not os.path.isfile(path):
                raise InputError(f"{given} is no regular file: choose another name")
            if not (os.path.isdir(folder) and os.access(folder, os.W_OK)):
                raise InputError(
                    f"{given}: its folder cannot be written to: choose another one"
                )
            if os.path.splitext(path)[1].lower() not in endings:
                expected = " or ".join(endings)
                raise InputError(f"{given}: expected a name that ends with {expected}")
        if (first := names.setdefault(real, name)) != name:
            raise InputError(
                f"--{first} and --{name} both name {path}: expected different files"
            )


@np.errstate(all="ignore")  # what is not finite is reported as a divergence
def train(rnn: Any, options: Configuration) -> int:
    """Run the command `train`: print, and write all files. Returns the exit status."""
    plot, name = plots.plot_target(options, rnn.__name__), rnn.__name__
    check_files(options, plot)
    experiment = prepare(options)
    run = (TextRun if experiment.alphabet else Trainer)(rnn, experiment, options)
    print(heading(name, experiment, options), run.heading(), sep="\n", flush=True)

    def save() -> str:
        if options.save is None:
            return "nothing was saved: --save FILE keeps the run"
        configuration = {name: getattr(options, name) for name in RUN}
        configuration |= {"alphabet": experiment.alphabet, "smoothed": run.smoothed}
        save_run(options.save, *run.weights(), configuration)
        return f"weights saved to {printable(options.save)}"

    try:
        for _ in run:
            for line in run.lines():
                print(line, flush=True)
        print(*run.final(), sep="\n")
    except (
        KeyboardInterrupt,
        BrokenPipeError,
    ) as error:  # the latest update is complete
        at = "" if run.latest is None else f" in epoch {run.latest.epoch}"
        raise type(error)(f"interrupted{at}; {save()}") from None
    if options.save is not None:
        print(save())
    if options.output is not None:
        write_csv(options.output, run)
        print(f"results saved to {printable(options.output)}")
    if plot is not None and run.result is not None:
        plots.draw(plot, experiment, {name: run.result})
    return 0
