"""The command line of both packages: `python -m numpy_rnn` and `python -m torch_rnn`."""

import contextlib
import importlib
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np

from numpy_rnn.app import plots
from numpy_rnn.app.experiment import prepare, save_run
from numpy_rnn.app.options import Configuration, parse
from numpy_rnn.app.run import TextRun, Trainer, heading, write_csv
from numpy_rnn.common.errors import exit_status, printable
from numpy_rnn.common.files import check_files

DELAY = 2.0  # seconds before a progress bar appears
ENDINGS = {"save": (".npz",), "output": (".csv",), "plot": (".png", ".pdf", ".svg", ".jpg")}


def main(rnn: Any, arguments: list[str] | None, commands: Mapping[str, str]) -> int:
    """Run a command of the package `rnn`. commands: "module:function", imported if it is used."""

    def work() -> int:
        words = sys.argv[1:] if arguments is None else arguments
        options = parse(rnn.__name__, words, commands)
        with contextlib.redirect_stdout(None) if options.quiet else contextlib.nullcontext():
            if options.command == "train":
                return train(rnn, options)
            module, _, function = commands[options.command].partition(":")
            return getattr(importlib.import_module(module), function)(rnn, options) or 0

    return exit_status(rnn.__name__, work)


def check_all_files(options: Configuration, plot: str | None) -> None:
    """Raise InputError if an output could not be written, or is another file of the command."""
    inputs = {name: getattr(options, name) for name in ("data", "text", "weights")}
    check_files(inputs, {"save": options.save, "output": options.output, "plot": plot}, ENDINGS)


@np.errstate(all="ignore")  # what is not finite is reported as a divergence
def train(rnn: Any, options: Configuration) -> int:
    """Run the command `train`: print, and write all files. Returns the exit status."""
    plot, name = plots.plot_target(options, rnn.__name__), rnn.__name__
    check_all_files(options, plot)
    experiment = prepare(options)
    run = (TextRun if experiment.alphabet else Trainer)(rnn, experiment, options)
    print(heading(name, experiment, options), run.heading(), sep="\n", flush=True)

    def save() -> str:
        if options.save is None:
            return "nothing was saved: --save FILE keeps the run"
        text = {"alphabet": experiment.alphabet, "smoothed": run.smoothed}
        save_run(options.save, *run.weights(), options.to_dict() | text)
        return f"weights saved to {printable(options.save)}"

    bar = progress_bar(run)
    try:
        with bar or contextlib.nullcontext():
            for _ in run:
                for line in run.lines():
                    print(line, flush=True) if bar is None else bar.write(line)
                if bar is not None:
                    bar.update()
        print(*run.final(), sep="\n")
    except (KeyboardInterrupt, BrokenPipeError) as error:  # the latest update is complete
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


def progress_bar(run: Trainer) -> Any:
    """A bar on standard error; None if that is no terminal, or tqdm is not installed."""
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    if run.configuration.quiet or not is_terminal or find_spec("tqdm") is None:
        return None
    from tqdm import tqdm

    total, name = run.per_epoch * run.configuration.epochs, run.rnn.__name__
    return tqdm(desc=name, total=total, unit=" updates", delay=DELAY, leave=False)
