"""python -m torch_rnn audit: run a script as it is, and report what its training loop computes."""

import argparse
import builtins
import os
import sys
from pathlib import Path
from types import ModuleType, TracebackType

from numpy_rnn.app.options import Parser
from numpy_rnn.common.errors import InputError, check_whole
from numpy_rnn.common.exit_status import failed
from numpy_rnn.common.files import check_can_write, save_json
from torch_rnn.loop_audit.audit_report import Report
from torch_rnn.loop_audit.loop_trace import LoopTrace
from torch_rnn.loop_audit.places import is_own
from torch_rnn.loop_audit.watch import Watch

ABOUT = """\
Run a training script as it is, and report what its loop computes: windows, states, truncation in terms of
TBPTT(k1, k2), clipping and steps, with the gradient of nn.RNN recomputed by hand. Warnings name what is probably not
meant. The report is printed on standard error. The exit status is that of the script."""


def parser() -> Parser:
    """The parser of the command. Everything after the script is the script's."""
    made = Parser(
        "python -m torch_rnn audit",
        usage="python -m torch_rnn audit [options] SCRIPT [arguments of the script]",
        description=ABOUT,
        allow_abbrev=False,
    )
    made.add_argument("script", metavar="SCRIPT", help="a Python file")
    made.add_argument("arguments", metavar="ARGUMENTS", nargs=argparse.REMAINDER, help="of the script")
    made.add_argument("--updates", type=int, default=200, metavar="N", help="audit the first N updates (200)")
    made.add_argument("--output", metavar="FILE", help="write everything that was seen as .json")
    made.add_argument("--trace", metavar="FILE", help="write the updates as .npz, for python -m numpy_rnn compare FILE")
    return made


def parse(words: list[str]) -> tuple[argparse.Namespace, bytes]:
    """The options, with absolute paths of the files to write, and the source of the script. Raises InputError."""
    given = parser().parse_args(words)
    check_whole("--updates", given.updates, 1)
    for name, ending in (("output", ".json"), ("trace", ".npz")):
        if path := getattr(given, name):
            check_can_write(path, f"--{name}", (ending,))
            setattr(given, name, os.path.abspath(path))
    try:
        source = Path(given.script).read_bytes()
    except OSError as error:
        raise InputError(f"the script {given.script} cannot be read: {error.strerror}") from None
    return given, source


def run(words: list[str]) -> int:
    """Run the command. Returns the exit status, or raises what the script raises."""
    try:
        given, source = parse(words)
    except InputError as error:
        return failed("torch_rnn", 2, str(error))
    sys.argv = [given.script, *given.arguments]
    sys.path[0] = os.path.dirname(os.path.realpath(given.script))
    watch = Watch(given.updates, LoopTrace() if given.trace else None)
    main = sys.modules["__main__"] = ModuleType("__main__")
    main.__dict__.update(__file__=os.path.abspath(given.script), __builtins__=builtins)
    watch.start()
    try:
        exec(compile(source, str(main.__file__), "exec"), main.__dict__)
    except (Exception, KeyboardInterrupt):
        hook = sys.excepthook

        def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
            hook(kind, error, without_own(error, trace))
            finish(watch, given)

        sys.excepthook = show
        raise
    except SystemExit:
        finish(watch, given)
        raise
    finish(watch, given)
    return 0


def finish(watch: Watch, given: argparse.Namespace) -> None:
    """End the audit, print the report and write the files."""
    watch.stop()
    report = Report(watch)
    sys.stdout.flush()
    print("-- audit " + "-" * 71, *report.lines(), sep="\n", file=sys.stderr)
    words = {word.partition("=")[0] for word in given.arguments}
    for option in sorted({"--output", "--updates", "--trace"} & words):
        print(f"{option} went to the script: options of audit come before the script", file=sys.stderr)
    try:
        if given.output:
            save_json(given.output, report.to_jsonable())
        if watch.loop is not None:
            print(f"trace of {watch.loop.save(given.trace)} updates saved to {given.trace}", file=sys.stderr)
    except InputError as error:
        failed("torch_rnn", 2, str(error))


def without_own(error: BaseException, trace: TracebackType | None) -> TracebackType | None:
    """The traceback of an error without the frames of this package, also in those it comes from."""
    frames = []
    for other in (error.__cause__, error.__context__):
        if other is not None and other is not error:
            other.__traceback__ = without_own(other, other.__traceback__)
    while trace is not None:
        frames.append(trace)
        trace = trace.tb_next
    kept = [each for each in frames if not is_own(each.tb_frame.f_code.co_filename)]
    for each, following in zip(kept, [*kept[1:], None]):
        each.tb_next = following
    error.__traceback__ = kept[0] if kept else None
    return error.__traceback__
