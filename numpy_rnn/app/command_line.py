"""The command line of both packages: `python -m numpy_rnn` and `python -m torch_rnn`."""

import contextlib
import importlib
import os
import signal
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any

from numpy_rnn.app import plots
from numpy_rnn.app.checkpoint import Checkpoint, load_checkpoint, save_checkpoint, save_parameters
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import prepare
from numpy_rnn.app.options import configuration_of, parse, resumed_configuration
from numpy_rnn.app.report import SeriesReport, finite_median, heading
from numpy_rnn.app.run import Trainer
from numpy_rnn.app.text import TextReport
from numpy_rnn.common.errors import Diverged, InputError, errors_about, printable
from numpy_rnn.common.exit_status import exit_status, failed, interrupting_signal
from numpy_rnn.common.files import check_can_write

SAVE_EVERY = 30.0  # seconds
INPUTS = ("data", "text", "weights")
DELAY = 2.0  # seconds before a progress bar appears


class Terminated(KeyboardInterrupt):
    """A signal as an exception."""

    def __init__(self, number: int, is_deferred: bool = False):
        self.signal, self.is_deferred = number, is_deferred


class Signals(contextlib.ExitStack):
    """A context in which SIGINT, SIGTERM and SIGHUP raise Terminated; while they are `deferred`, the first one is only
    recorded as `received`, and a second one acts at once. A signal that is ignored, as under nohup, stays ignored.
    """

    NUMBERS = tuple(
        getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
    )

    def __init__(self) -> None:
        super().__init__()
        self.deferred = False
        self.received: int | None = None

    def __enter__(self) -> "Signals":
        for number in self.NUMBERS:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                self.callback(signal.signal, number, signal.signal(number, self._handle))
        return self

    def _handle(self, number: int, frame: object) -> None:
        if self.deferred and self.received is None:
            self.received = number
        else:
            raise Terminated(number)

    def check(self) -> None:
        """Raise Terminated if a signal was received while they were deferred."""
        if self.received is not None:
            raise Terminated(self.received, is_deferred=True)


@contextlib.contextmanager
def progress_bar(name: str, total: int, done: int, is_quiet: bool) -> Iterator[Any]:
    """A bar by tqdm on standard error, from two seconds on; None if that is no terminal, or tqdm is not installed."""
    if is_quiet or sys.stderr is None or not sys.stderr.isatty() or find_spec("tqdm") is None:
        yield None
        return
    from tqdm import tqdm

    options = {"unit": " updates", "delay": DELAY, "leave": False, "dynamic_ncols": True}
    with tqdm(desc=name, total=total, initial=done, **options) as bar:
        yield bar


def main(
    rnn: Any, arguments: list[str] | None = None, commands: Mapping[str, str] | None = None
) -> int:
    """Run the command line with the package `rnn`. Returns the exit status. commands: name → "module:function"."""
    words = list(sys.argv[1:] if arguments is None else arguments)

    def work() -> int:
        with Signals() as signals:
            parsed = parse(rnn.__name__, words, commands or ())
            with contextlib.redirect_stdout(None) if parsed.quiet else contextlib.nullcontext():
                if parsed.command == "train":
                    return TrainCommand(rnn, parsed, signals).run()
                module, _, function = (commands or {})[parsed.command].partition(":")
                return getattr(importlib.import_module(module), function)(rnn, parsed) or 0

    return exit_status(rnn.__name__, work, traceback="--traceback" in words)


def check_files(files: Mapping[str, str | None], output_endings: tuple[str, ...]) -> None:
    """Raise InputError if an output file could not be written, or if two options name the same file."""
    options: dict[str, str] = {}
    endings = {
        "--output": output_endings,
        "--plot": plots.ENDINGS,
        "--save": (".npz",),
    }
    for option, path in files.items():
        if path is None:
            continue
        if option.removeprefix("--") not in INPUTS:
            check_can_write(path, option, endings.get(option))
        first = options.setdefault(os.path.realpath(path), option)
        if first != option:
            raise InputError(f"{first} and {option} both name {path}: expected different files")


class TrainCommand:
    """The command `train`. A run that ends early is saved if --save is given, and the message says where it is."""

    def __init__(self, rnn: Any, arguments: Namespace, signals: Signals):
        self.rnn, self.arguments, self.signals = rnn, arguments, signals
        self.trainer: Trainer | None = None
        self.due = time.monotonic() + SAVE_EVERY  # when the run is saved next
        self.is_saved = (
            False  # whether a write of this run has begun; its file says what was written
        )
        self.error: InputError | None = None  # why the latest write of this file failed

    def run(self) -> int:
        """Train, print, and write all files. Returns the exit status."""
        try:
            self._run()
            return 0
        except Diverged as error:
            self._save()
            return failed(self.rnn.__name__, 3, f"{error}{self._where()}")
        except KeyboardInterrupt as error:
            if getattr(error, "is_deferred", False):  # between two updates
                self._save()
            return failed(
                self.rnn.__name__, 128 + interrupting_signal(error), f"interrupted{self._where()}"
            )
        except OSError as error:  # of standard output, which `| head` closes
            if self.arguments.save is None:
                raise
            self._save()
            raise OSError(error.errno, f"{error.strerror or error}{self._where()}") from None

    def _run(self) -> None:
        arguments, name = self.arguments, self.rnn.__name__
        resumed, configuration = self._configuration()
        path = plots.plot_target(arguments, name)
        outputs = {
            "--save": arguments.save,
            "--output": arguments.output,
            "--plot": path,
        }
        inputs = {f"--{name}": getattr(configuration, name) for name in INPUTS}
        check_files({**inputs, **outputs}, (".csv",))
        saved = (None, None) if resumed is None else (resumed.state.parameters, resumed.alphabet)
        experiment = prepare(configuration, *saved)
        with (
            contextlib.nullcontext()
            if resumed is None
            else errors_about(f"run file {arguments.resume}")
        ):
            trainer = Trainer(self.rnn, experiment, configuration, resumed)
        report = (SeriesReport if experiment.alphabet is None else TextReport)(trainer, arguments)
        self.trainer = trainer
        print(heading(name, experiment, configuration))
        if resumed is not None:
            print(f"resuming from {printable(arguments.resume)} after {resumed.position}")
        print(report.heading(), flush=True)
        self._train(trainer, report)
        print(*report.final(), sep="\n")
        if arguments.save is not None and self.error is None:
            if trainer.state is None:  # no update was made
                save_parameters(arguments.save, trainer.parameters())
            print(f"weights saved to {printable(arguments.save)}")
        if arguments.output is not None:
            print(f"{report.save(arguments.output)} saved to {printable(arguments.output)}")
        plots.draw(path, report.draw)
        if self.error is not None:
            raise self.error

    def _configuration(self) -> tuple[Checkpoint | None, Configuration]:
        """(checkpoint to resume from, configuration)."""
        path = self.arguments.resume
        if path is None:
            return None, configuration_of(self.arguments)
        resumed = load_checkpoint(path)
        configuration = resumed_configuration(self.arguments, resumed.configuration)
        for name in ("data", "text"):
            file = getattr(configuration, name)
            if file is not None and not os.path.exists(file):
                raise InputError(
                    f"run file {path}: {file} does not exist; name the file of that run by --{name}"
                )
        if configuration.epochs < resumed.state.epoch:
            raise InputError(
                f"run file {path}: expected --epochs {resumed.state.epoch}, which it has reached, or more"
            )
        return resumed, configuration

    def _train(self, trainer: Trainer, report: SeriesReport | TextReport) -> None:
        """Make all updates; print rows, and save the run every SAVE_EVERY seconds."""
        name, total = self.rnn.__name__, trainer.configuration.epochs * trainer.updates_per_epoch
        self.signals.deferred = self.arguments.save is not None
        with progress_bar(name, total, trainer.updates, self.arguments.quiet) as bar:
            for progress in trainer:
                with (
                    contextlib.nullcontext()
                    if bar is None
                    else bar.external_write_mode(file=sys.stdout)
                ):
                    for row in report.lines(progress):
                        print(row, flush=True)
                    for divergence in progress.diverged:
                        message = f"{trainer.described(divergence)}; the other networks continue"
                        print(f"{name}: {message}", file=sys.stderr)
                if bar is not None:
                    loss = f"{finite_median(progress.losses[-1]):.3g}"
                    bar.set_postfix({"epoch": progress.epoch, "loss": loss}, refresh=False)
                    bar.update(len(progress.losses))
                self.signals.check()
                if time.monotonic() >= self.due:
                    self._save()
        self._save()
        self.signals.check()
        self.signals.deferred = False

    def _save(self) -> None:
        """Save the run, if --save is given and there was an update. A failed write does not end the run."""
        checkpoint = None if self.trainer is None else self.trainer.checkpoint()
        if self.arguments.save is None or checkpoint is None:
            return
        try:
            self.is_saved = True
            save_checkpoint(self.arguments.save, checkpoint)
            self.error = None
        except InputError as error:
            self.error = error
        self.due = time.monotonic() + SAVE_EVERY

    def _where(self) -> str:
        """What to say about the file of a run that ended early."""
        path = self.arguments.save
        if path is None:
            return "; nothing was saved: --save FILE keeps the run"
        if self.error is not None:
            return f"; the run could not be saved: {self.error}"
        with contextlib.suppress(
            InputError
        ):  # a second signal may come before the first write ends
            if self.is_saved:
                return f"; {path} has the run after {load_checkpoint(path).position}: continue with --resume {path}"
        return "; nothing was saved"
