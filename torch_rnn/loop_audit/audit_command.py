"""python -m torch_rnn audit: run a script as it is, and report what its training loop
computes.
"""

import os
import runpy
import signal
import sys
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
from torch_rnn.loop_audit.location import SCRIPT_PATHS
from torch_rnn.loop_audit.mistakes import MISTAKES

USAGE = "[--updates N] [--ignore NAME] [--strict] SCRIPT | -m MODULE [arguments]"
HELP = f"""\
usage: python -m torch_rnn audit {USAGE}

Run a training script as it is, and report on standard error which truncated BPTT and
which updates its loop makes, and likely mistakes. The exit status is the script's.

  --updates N    record the first N updates (200)
  --ignore NAME  switch a warning off, by the name that stands after it
  --strict       exit status 1 if a mistake is found, or the audit ends early, and the
                 script succeeds

Warnings: {", ".join(MISTAKES)}."""


def parse_options(words: list[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the options of the command with their values, and the words from the
    script or module on; none with --help. Raises InputError.
    """
    try:
        options, script = getopt(words, "hm", ["help", "updates=", "ignore=", "strict"])
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

    def __init__(self, running: ExitStack, report: LoopReport) -> None:
        """Copy standard error, for a report of this process alone."""
        self.running = running
        self.report = report
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
        running = ExitStack()
        report = running.enter_context(audit(limit, ignored))
    except InputError as error:
        return failed("torch_rnn", 2, str(error))
    printer = Printer(running, report)
    signal.signal(signal.SIGTERM, printer.terminate)
    try:
        code = run_script(script, "-m" in values)
    finally:
        printer.print()
    is_clean = not (report.warnings or report.error)
    if "--strict" in values and code in (None, 0) and not is_clean:
        code = 1
    sys.exit(code)
