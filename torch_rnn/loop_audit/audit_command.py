"""python -m torch_rnn audit: run a script as it is, and report what its training loop
computes.
"""

import os
import runpy
import signal
import sys
import textwrap
import threading
from contextlib import ExitStack, suppress
from getopt import GetoptError, getopt
from importlib.machinery import PathFinder
from types import FrameType
from typing import Any

from numpy_rnn.common.commands import failed, silence_output
from numpy_rnn.common.errors import InputError, errors_about
from torch_rnn.loop_audit import audit
from torch_rnn.loop_audit.audit_report import LoopReport
from torch_rnn.loop_audit.expectation import (
    WORDS,
    Expectation,
    read_expectation,
)
from torch_rnn.loop_audit.explanation import explain
from torch_rnn.loop_audit.findings import FINDINGS
from torch_rnn.loop_audit.location import SCRIPT_PATHS


def names_of(is_question: bool) -> str:
    """Return the names of the warnings, or of the questions."""
    found = FINDINGS.items()
    return ", ".join(name for name, f in found if f.is_question is is_question)


def filled(title: str, text: str) -> str:
    """Return a paragraph of the help."""
    return textwrap.fill(
        f"{title}: {text}.", 88, subsequent_indent="  ", break_on_hyphens=False
    )


LONG_OPTIONS = ["help", "updates=", "ignore=", "expect=", "strict"]
PROGRAM = "torch-rnn audit"
USAGE = "[OPTION ...] SCRIPT | -m MODULE [arguments]"
HELP = f"""\
usage: {PROGRAM} {USAGE}

Run a training script as it is, and report on standard error which loop it is, what is
sure to be a mistake, and what may be one. The exit status is the script's.

  --expect TEXT  what the loop is meant to be, as "TBPTT(20, 20), carried": exit status
                 1 if a part differs, or there is a warning
  --updates N    record the first N updates (200)
  --ignore NAME  switch a warning or question off, by the name that stands after it
  --strict       exit status 1 if there is a warning, or the audit ends early, and the
                 script succeeds

A report ends with the line that describes the loop, which --expect takes.
Its parts are separated by commas, those of several modules by semicolons.

{filled("Parts", ", ".join(WORDS))}
{filled("Warnings", names_of(False))}
{filled("Questions", names_of(True))}"""


def parse_options(words: list[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the options of the command with their values, and the words from the
    script or module on; none with --help. Raises InputError.
    """
    try:
        options, script = getopt(words, "hm", LONG_OPTIONS)
    except GetoptError as error:
        raise InputError(f"{error}: expected {USAGE}") from None
    if {"-h", "--help"} & dict(options).keys():
        return options, []
    if not script:
        raise InputError(f"no script: expected {USAGE}")
    if "-m" not in dict(options):
        with errors_about(f"the script {script[0]}"), open(script[0], "rb"):
            pass
    elif not paths_of(script[0]):
        raise InputError(f"no module {script[0]}: expected one here, or installed")
    return options, script


def paths_of(module: str) -> list[str]:
    """Return the folder of the package of a module, in this folder or installed, or the
    file of a module without one; none if there is no such module.
    """
    package = module.partition(".")[0]
    spec = PathFinder.find_spec(package, [os.getcwd(), *sys.path])
    if spec is None:
        return []
    folders = spec.submodule_search_locations or ()
    return [f"{folder}{os.sep}" for folder in folders] or [str(spec.origin)]


class Printer:
    """Prints a report on a copy of standard error, which the script may close."""

    def __init__(
        self, running: ExitStack, report: LoopReport, expected: Expectation | None
    ) -> None:
        """Copy standard error, for a report of this process alone."""
        self.running = running
        self.report = report
        self.expected = expected
        self.process = os.getpid()
        try:
            self.descriptor = os.dup(2)
        except OSError:  # it is closed already
            self.descriptor = 1

    def print(self) -> None:
        """End the audit and write its report."""
        if os.getpid() != self.process:
            return
        self.running.close()
        self.report.expectation = self.expected  # a loop that differs is no exception
        with suppress(AttributeError, OSError, ValueError):
            sys.stdout.flush()
        text = "\n".join(["-- audit " + "-" * 71, str(self.report), ""])
        with suppress(OSError):
            os.write(self.descriptor, text.encode(errors="replace"))

    def terminate(self, number: int, _: FrameType | None) -> None:
        """Print, and end as a signal does without a handler."""
        self.print()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def run_script(words: list[str], is_module: bool) -> str | int | None:
    """Run the script as Python does, and wait for its threads. Return its exit code."""
    name = words[0]
    sys.argv = words
    folder = os.getcwd() if is_module else os.path.dirname(os.path.realpath(name))
    if not sys.flags.safe_path:  # else Python has no folder of the script there
        sys.path[0] = folder
    code: str | int | None = 0
    try:
        if is_module:
            SCRIPT_PATHS.extend(paths_of(name))
            runpy.run_module(name, run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(os.path.abspath(name), run_name="__main__")
    except SystemExit as error:
        code = error.code
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    return code


def print_help() -> int:
    """Print the help. Returns the exit status."""
    try:
        print(HELP, flush=True)
    except OSError:  # the reader is gone, or the disk full
        silence_output()
        return 1
    return 0


def audit_script(words: list[str]) -> int:
    """Run the command, and end as the script does. Returns the exit status of a help
    or a refusal.
    """
    try:
        options, script = parse_options(words)
        if not script:
            return print_help()
        values = dict(options)
        updates = values.get("--updates", "200")
        limit: Any = int(updates) if updates.isdecimal() else updates  # is checked
        ignored = [value for option, value in options if option == "--ignore"]
        expected = values.get("--expect")
        expectation = None if expected is None else read_expectation(expected)
        running = ExitStack()
        report = running.enter_context(audit(limit, ignored))
    except InputError as error:
        return failed(PROGRAM, 2, str(error))
    printer = Printer(running, report, expectation)
    signal.signal(signal.SIGTERM, printer.terminate)
    try:
        code = run_script(script, "-m" in values)
    except Exception as error:
        explain(error, report.loop)
        raise
    finally:
        printer.print()
    is_clean = not (report.warnings or report.error) or "--strict" not in values
    if code in (None, 0) and not (is_clean and report.is_as_expected):
        code = 1
    sys.exit(code)
