"""python -m torch_rnn audit: run a script as it is, and report what its training loop computes."""

import argparse
import builtins
import json
import os
import runpy
import sys
from contextlib import suppress
from math import isfinite
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import numpy as np

from numpy_rnn.app.options import Parser
from numpy_rnn.common.errors import InputError, check_integer, failed
from numpy_rnn.common.files import check_files, written_whole
from torch_rnn.loop_audit.audit_report import Report
from torch_rnn.loop_audit.places import OWN
from torch_rnn.loop_audit.watch import Watch

ABOUT = """\
Run a training script as it is, and report what its loop computes: windows, states and where they come from, truncation
in terms of TBPTT(k1, k2), clipping and steps, with gradients and steps replayed in float64. Warnings name what is
probably not meant. The report is printed on standard error. The exit status is that of the script."""
WITH_VALUE = ("--updates", "--output")


def split(words: list[str]) -> tuple[list[str], list[str]]:
    """The words up to the script or module, and its arguments as they are."""
    n = 0
    while n < len(words) and words[n].startswith("-") and words[n] not in ("-m", "--"):
        n += 2 if words[n] in WITH_VALUE else 1
    n += 2 if words[n : n + 1] in (["-m"], ["--"]) else 1
    return words[:n], words[n:]


def parse(words: list[str]) -> tuple[argparse.Namespace, bytes]:
    """The options, with absolute paths of the files to write, and the source of the script. Raises InputError."""
    usage = "python -m torch_rnn audit [options] (SCRIPT | -m MODULE) [arguments of the script]"
    parser = Parser("python -m torch_rnn audit", usage=usage, description=ABOUT, allow_abbrev=False)
    option = parser.add_argument
    option("script", metavar="SCRIPT", nargs="?", help="a Python file; its arguments follow")
    option(
        "-m",
        dest="module",
        metavar="MODULE",
        help="a module, such as package.train, instead of a file",
    )
    option("--updates", type=int, default=200, metavar="N", help="audit the first N updates (200)")
    option("--output", metavar="FILE", help="write everything that was seen as .json")
    own, arguments = split(words)
    given = parser.parse_args(own, argparse.Namespace(arguments=arguments))
    check_integer("--updates", given.updates, 1)
    if given.output:
        check_files({}, {"output": given.output}, {"output": (".json",)})
        given.output = os.path.abspath(given.output)
    if given.module is not None:
        return given, b""
    if given.script is None:
        raise InputError("the following arguments are required: SCRIPT, or -m MODULE")
    try:
        return given, Path(given.script).read_bytes()
    except OSError as error:
        raise InputError(f"the script {given.script} cannot be read: {error.strerror}") from None


def run(words: list[str]) -> int:
    """Run the command. Returns the exit status, or raises what the script raises."""
    try:
        given, source = parse(words)
    except InputError as error:
        return failed("torch_rnn", 2, str(error))
    folder = os.getcwd() if given.module else os.path.dirname(os.path.realpath(given.script))
    sys.argv, sys.path[0] = [given.script or "-m", *given.arguments], folder
    watch = Watch(given.updates)
    main = sys.modules["__main__"] = ModuleType("__main__")
    main.__dict__.update(__builtins__=builtins)
    watch.start()
    try:
        if given.module:
            runpy._run_module_as_main(given.module)  # type: ignore[attr-defined]
        else:
            main.__dict__["__file__"] = os.path.abspath(given.script)
            exec(compile(source, main.__dict__["__file__"], "exec"), main.__dict__)
    except (
        Exception,
        KeyboardInterrupt,
    ) as error:  # is shown here, and decides on the exit status of the interpreter
        error.__traceback__ = without_own(error)
        sys.excepthook(type(error), error, error.__traceback__)
        sys.excepthook = lambda *_: None
        raise
    finally:
        with suppress(Exception):  # the script may have closed its streams, or worse
            watch.stop()
            report(watch, given)
    return 0


def report(watch: Watch, given: argparse.Namespace) -> None:
    """Print the report and write the files."""
    found = Report(watch)
    with suppress(AttributeError, OSError, ValueError):
        sys.stdout.flush()
    print("-- audit " + "-" * 71, found, sep="\n", file=sys.stderr)
    for option in sorted({*WITH_VALUE} & {word.partition("=")[0] for word in given.arguments}):
        print(
            f"{option} went to the script: options of audit come before the script", file=sys.stderr
        )
    if given.output:
        try:
            save_json(given.output, found.contents())
        except InputError as error:
            failed("torch_rnn", 2, str(error))


def without_own(error: BaseException) -> TracebackType | None:
    """The traceback of an error without the frames of the audit, also in those it comes from."""
    if (former := error.__cause__ or error.__context__) is not None:
        former.__traceback__ = without_own(former)
    traces = [error.__traceback__]
    while traces[-1] is not None:
        traces.append(traces[-1].tb_next)
    kept: TracebackType | None = None
    for each in reversed(traces):
        if each is not None and not each.tb_frame.f_code.co_filename.startswith(OWN):
            each.tb_next, kept = kept, each
    return kept


def save_json(path: str, values: Any) -> None:
    """Write values as JSON, see `to_jsonable`. Raises InputError if the file cannot be written."""
    with written_whole(path) as temporary:
        text = json.dumps(to_jsonable(values), indent=1, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def to_jsonable(value: Any) -> Any:
    """The value in types of JSON: records become objects, arrays lists, NaN and infinity null."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {str(name): to_jsonable(item) for name, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [to_jsonable(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value
