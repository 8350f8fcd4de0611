"""python -m torch_rnn audit: run a script as it is, and report what its training loop computes."""

import builtins
import os
import sys
from contextlib import suppress
from pathlib import Path
from types import ModuleType, TracebackType

from numpy_rnn.common.errors import InputError, check_integer, failed
from torch_rnn.loop_audit.audit_report import Report
from torch_rnn.loop_audit.records import HIDDEN, OWN
from torch_rnn.loop_audit.watch import Watch

HELP = """\
usage: python -m torch_rnn audit [--updates N] SCRIPT [arguments of the script]

Run a training script as it is, and report what its loop computes: truncation in terms of
TBPTT(k1, k2), where states come from, losses, optimizers, clipping. Warnings name what is
probably not meant. The report is printed on standard error; the exit status is the script's.

  --updates N  record the first N updates (200)"""


def parse(words: list[str]) -> tuple[int, str, bytes, list[str]]:
    """The number of updates, the script, its source and its arguments. Raises InputError."""
    updates = 200
    if words[:1] == ["--updates"] and words[1:]:
        words = [f"--updates={words[1]}", *words[2:]]
    if words and words[0].startswith("--updates="):
        text, *words = words[0].partition("=")[2], *words[1:]
        updates = check_integer("--updates", int(text) if text.isdecimal() else text, 1)
    if not words or words[0].startswith("-"):
        given = f"unknown option {words[0]}" if words else "no script"
        raise InputError(f"{given}: expected [--updates N] SCRIPT [arguments of the script]")
    try:
        return updates, words[0], Path(words[0]).read_bytes(), words[1:]
    except OSError as error:
        raise InputError(f"the script {words[0]} cannot be read: {error.strerror}") from None


def run(words: list[str]) -> int:
    """Run the command. Returns the exit status, or raises what the script raises."""
    if words[:1] in (["-h"], ["--help"]):
        print(HELP)
        return 0
    try:
        updates, script, source, arguments = parse(words)
    except InputError as error:
        return failed("torch_rnn", 2, str(error))
    sys.argv, sys.path[0] = [script, *arguments], os.path.dirname(os.path.realpath(script))
    main = sys.modules["__main__"] = ModuleType("__main__")
    main.__dict__.update(__builtins__=builtins, __file__=os.path.abspath(script))
    watch = Watch(updates)
    watch.start()
    try:
        exec(compile(source, main.__dict__["__file__"], "exec"), main.__dict__)
    except (Exception, KeyboardInterrupt) as error:
        # is shown here, and decides on the exit status of the interpreter
        error.__traceback__ = without_own_frames(error)
        sys.excepthook(type(error), error, error.__traceback__)
        sys.excepthook = lambda *_: None
        raise
    finally:
        with suppress(Exception):  # the script may have closed its streams
            watch.stop()
            with suppress(AttributeError, OSError, ValueError):
                sys.stdout.flush()
            print("-- audit " + "-" * 71, Report(watch), sep="\n", file=sys.stderr)
    return 0


def without_own_frames(error: BaseException) -> TracebackType | None:
    """The traceback of an error without the frames of the audit, also in those it comes from."""
    if (former := error.__cause__ or error.__context__) is not None:
        former.__traceback__ = without_own_frames(former)
    traces = list[TracebackType]()
    trace = error.__traceback__
    while trace is not None:
        is_own = trace.tb_frame.f_code.co_filename.startswith((OWN, HIDDEN))
        traces += [] if is_own else [trace]
        trace = trace.tb_next
    for each, following in zip(traces, [*traces[1:], None]):
        each.tb_next = following
    return traces[0] if traces else None
