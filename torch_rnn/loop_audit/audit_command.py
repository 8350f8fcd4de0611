"""python -m torch_rnn audit: run a script as it is, and report what its training loop
computes.
"""

import builtins
import os
import sys
from contextlib import suppress
from pathlib import Path
from types import ModuleType

from numpy_rnn.common.errors import InputError, check_integer, errors_about, failed
from torch_rnn.loop_audit.audit_report import Report
from torch_rnn.loop_audit.recorder import Recorder

EXPECTED = "[--updates N] SCRIPT [arguments of the script]"
HELP = f"""\
usage: python -m torch_rnn audit {EXPECTED}

Run a training script as it is, and report on standard error what its loop computes,
and what is probably not meant. The exit status is the script's.

  --updates N  record the first N updates (200)"""


def run(words: list[str]) -> int:
    """Run the command. Returns the exit status, or raises what the script raises."""
    if words[:1] in (["-h"], ["--help"]):
        print(HELP)
        return 0
    updates: int | str = 200
    try:
        if words[:1] == ["--updates"] and words[1:]:
            updates, *words = (
                int(words[1]) if words[1].isdecimal() else words[1],
                *words[2:],
            )
        watch = Recorder(check_integer("--updates", updates, 1))
        if not words or words[0].startswith("-"):
            given = f"unknown option {words[0]}" if words else "no script"
            raise InputError(f"{given}: expected {EXPECTED}")
        with errors_about(f"the script {words[0]}"):
            source = Path(words[0]).read_bytes()
    except InputError as error:
        return failed("torch_rnn", 2, str(error))
    sys.argv, sys.path[0] = words, os.path.dirname(os.path.realpath(words[0]))
    main = sys.modules["__main__"] = ModuleType("__main__")
    main.__dict__.update(__builtins__=builtins, __file__=os.path.abspath(words[0]))
    watch.start()
    try:
        exec(compile(source, main.__dict__["__file__"], "exec"), main.__dict__)
    except (Exception, KeyboardInterrupt) as error:
        # is shown here, and decides on the exit status of the interpreter
        error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next
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
