"""The command line of both packages: `python -m numpy_rnn` and `python -m torch_rnn`."""

import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np

from numpy_rnn.app import plots
from numpy_rnn.app.experiment import prepare, save_run
from numpy_rnn.app.options import Configuration, parse
from numpy_rnn.app.report import SeriesRun, TextRun, heading, write_csv
from numpy_rnn.app.run import Trainer
from numpy_rnn.common.errors import exit_status, printable
from numpy_rnn.common.files import check_files

DELAY = 2.0  # seconds before a progress bar appears
ENDINGS = {"save": (".npz",), "output": (".csv",), "plot": (".png", ".pdf", ".svg", ".jpg")}


def main(rnn: Any, arguments: list[str] | None, commands: Mapping[str, str]) -> int:
    """Run the command line with the package `rnn`. Returns the exit status.

    commands: name → "module:function"; a module is imported only if its command is used.
    """
    words = sys.argv[1:] if arguments is None else arguments

    def work() -> int:
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
    run = (TextRun if experiment.alphabet else SeriesRun)(rnn, experiment, options)
    print(heading(name, experiment, options), run.heading(), sep="\n", flush=True)
    try:
        with progress_bar(run) as show:
            for _ in run:
                show(run.lines())
        print(*run.final(), sep="\n")
    except (KeyboardInterrupt, BrokenPipeError) as error:  # the latest update is complete
        at = "" if run.latest is None else f" in epoch {run.latest.epoch}"
        raise type(error)(f"interrupted{at}; {save(run)}") from None
    if options.save is not None:
        print(save(run))
    if options.output is not None:
        write_csv(options.output, run)
        print(f"results saved to {printable(options.output)}")
    if plot is not None:
        results = {name: run.result}
        plots.draw(plot, lambda figure: plots.draw_results(figure, experiment, results))
    return 0


def save(run: Trainer) -> str:
    """Save the run, if --save is given. Returns what is said about it."""
    path = run.configuration.save
    if path is None:
        return "nothing was saved: --save FILE keeps the run"
    save_run(path, *run.weights(), run.configuration, run.experiment.alphabet, run.smoothed)
    return f"weights saved to {printable(path)}"


@contextlib.contextmanager
def progress_bar(run: Trainer) -> Iterator[Callable[[list[str]], Any]]:
    """Yield a function that prints lines after an update, and moves a bar on a terminal."""
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    if run.configuration.quiet or not is_terminal or find_spec("tqdm") is None:
        yield lambda lines: lines and print(*lines, sep="\n", flush=True)
        return
    from tqdm import tqdm

    total, name = run.per_epoch * run.configuration.epochs, run.rnn.__name__
    with tqdm(desc=name, total=total, unit=" updates", delay=DELAY, leave=False) as bar:

        def show(lines: list[str]) -> None:
            for line in lines:
                bar.write(line)
            bar.update()

        yield show
