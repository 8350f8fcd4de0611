"""python -m torch_rnn audit: run a script as it is, and report what its training loop
computes.
"""

import os
import runpy
import signal
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from getopt import GetoptError, getopt
from types import FrameType

from numpy_rnn.common.errors import InputError, errors_about
from numpy_rnn.common.numbers import check_integer
from numpy_rnn.common.texts import failed, silence_output
from torch_rnn.loop_audit.audit_report import LoopReport
from torch_rnn.loop_audit.mistakes import MISTAKES
from torch_rnn.loop_audit.recorder import LoopRecorder

# whose frames are not of the script: this one, and that which runs a module
OWN_FILES = (__file__, runpy.__file__, "<frozen runpy>")
USAGE = "[--updates N] [--ignore NAME] [--strict] SCRIPT | -m MODULE [arguments]"
HELP = f"""\
usage: python -m torch_rnn audit {USAGE}

Run a training script as it is, and report on standard error which truncated BPTT and
which updates its loop makes, and likely mistakes. The exit status is the script's.

  --updates N    record the first N updates (200)
  --ignore NAME  switch a warning off, by the name that stands after it
  --strict       exit status 1 if a mistake is found and the script succeeds

Warnings: {", ".join(MISTAKES)}."""


@dataclass(frozen=True)
class Options:
    """The options of the command, and the words of the script."""

    words: list[str]  # the script or module, and its arguments
    updates: int  # that are recorded
    ignored: list[str]  # names of warnings
    is_strict: bool
    is_module: bool


def parse_options(words: list[str]) -> Options:
    """Return the options of the command. Raises InputError."""
    try:
        pairs, rest = getopt(words, "m", ["updates=", "ignore=", "strict"])
    except GetoptError as error:
        raise InputError(f"{error}: expected {USAGE}") from None
    if not rest:
        raise InputError(f"no script: expected {USAGE}")
    values = dict(pairs)
    updates = values.get("--updates", "200")
    number = int(updates) if updates.isdecimal() else updates
    is_module = "-m" in values
    if not is_module:
        with errors_about(f"the script {rest[0]}"), open(rest[0], "rb"):
            pass
    return Options(
        words=rest,
        updates=check_integer("--updates", number, 1),
        ignored=[value for option, value in pairs if option == "--ignore"],
        is_strict="--strict" in values,
        is_module=is_module,
    )


class Printer:
    """Prints a report once, on a copy of standard error, which the script may close."""

    def __init__(self, recorder: LoopRecorder, report: LoopReport) -> None:
        """Copy standard error, for a report of this process alone."""
        self.recorder = recorder
        self.report = report
        self.process = os.getpid()
        self.is_printed = False
        self.descriptor = -1
        with suppress(OSError):
            self.descriptor = os.dup(2)

    def print(self) -> None:
        """End the audit and write its report, unless that is done."""
        if self.is_printed or os.getpid() != self.process:
            return
        self.is_printed = True
        self.recorder.stop()
        for stream in (sys.stdout, sys.stderr):
            with suppress(AttributeError, OSError, ValueError):
                stream.flush()
        text = "\n".join(["-- audit " + "-" * 71, str(self.report), ""])
        try:
            os.write(self.descriptor, text.encode(errors="replace"))
            os.close(self.descriptor)
        except OSError:
            with suppress(AttributeError, OSError, ValueError):
                print("audit: no report, as standard error is closed", flush=True)

    def handle_termination(self) -> None:
        """Print also where the process is terminated, unless the script handles it."""
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self.terminate)

    def terminate(self, number: int, _: FrameType | None) -> None:
        """Print, and end as a signal does without a handler."""
        with suppress(Exception):
            self.print()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def run_script(options: Options) -> None:
    """Run the script as Python does, and wait for its threads."""
    name = options.words[0]
    sys.argv = options.words
    if options.is_module:
        folder = os.getcwd()
    else:
        folder = os.path.dirname(os.path.realpath(name))
    sys.path[0] = folder
    try:
        if options.is_module:
            runpy.run_module(name, run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(os.path.abspath(name), run_name="__main__")
    finally:
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join()


def show_error(error: BaseException) -> None:
    """Show an error as Python does, with the frames of the script alone.

    The error is raised again, and decides on the exit status of the interpreter.
    """
    traceback = error.__traceback__
    while traceback and traceback.tb_frame.f_code.co_filename in OWN_FILES:
        traceback = traceback.tb_next
    error.__traceback__ = traceback
    sys.excepthook(type(error), error, traceback)
    sys.excepthook = lambda *_: None


def show_help() -> int:
    """Print the help. Returns the exit status."""
    try:
        print(HELP, flush=True)
    except OSError as error:
        silence_output()
        message = f"the output cannot be written: {error.strerror}"
        return failed("torch_rnn", 2, message)
    return 0


def audit_script(words: list[str]) -> int:
    """Run the command. Returns the exit status, or raises what the script raises."""
    if words[:1] in (["-h"], ["--help"]):
        return show_help()
    try:
        options = parse_options(words)
        recorder = LoopRecorder(options.updates)
        report = LoopReport(recorder.record, options.ignored)
        recorder.start()
    except InputError as error:
        return failed("torch_rnn", 2, str(error))
    printer = Printer(recorder, report)
    printer.handle_termination()
    try:
        run_script(options)
    except (Exception, KeyboardInterrupt) as error:
        show_error(error)
        raise
    except SystemExit as error:
        printer.print()
        if options.is_strict and error.code in (None, 0) and report.warnings:
            raise SystemExit(1) from None
        raise
    finally:
        printer.print()
    return int(options.is_strict and bool(report.warnings))
