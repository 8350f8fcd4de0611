"""python -m torch_rnn audit: run a script as it is, and report what its training loop computes."""

import argparse
import builtins
import functools
import os
import sys
from types import ModuleType, TracebackType

from numpy_rnn.app.options import Parser
from numpy_rnn.common.errors import InputError
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
LIMIT = 200


def parser() -> Parser:
    """The parser of the command. Everything after the script is the script's."""
    made = Parser(
        "python -m torch_rnn audit",
        usage="python -m torch_rnn audit [options] SCRIPT [arguments of the script]",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("script", metavar="SCRIPT", nargs=argparse.REMAINDER, help="a Python file, and its arguments")
    made.add_argument("--updates", type=int, default=LIMIT, metavar="N", help=f"audit the first N updates ({LIMIT})")
    made.add_argument("--output", metavar="FILE", help="write everything that was seen as .json")
    made.add_argument("--trace", metavar="FILE", help="write the updates as .npz, for python -m numpy_rnn compare FILE")
    return made


def run(words: list[str]) -> int:
    """Run the command. Returns the exit status, or raises what the script raises."""
    try:
        given = parser().parse_args(words)
        if not given.script:
            raise InputError("no script is given: expected python -m torch_rnn audit SCRIPT; see --help")
        if given.updates < 1:
            raise InputError(f"--updates is {given.updates}: expected 1 or more")
        for option, ending in (("output", ".json"), ("trace", ".npz")):
            if getattr(given, option) is not None:
                check_can_write(getattr(given, option), f"--{option}", (ending,))
        script, *arguments = given.script
        if not os.path.isfile(script):
            kind = "is a folder" if os.path.isdir(script) else "does not exist"
            raise InputError(f"the script {script} {kind}: expected a Python file")
    except InputError as error:
        return failed("torch_rnn", 2, str(error))
    output, trace = (None if path is None else os.path.abspath(path) for path in (given.output, given.trace))
    sys.argv = [script, *arguments]
    sys.path[0] = os.path.dirname(os.path.realpath(script))
    watch = Watch(given.updates, None if trace is None else LoopTrace())
    end = functools.partial(finish, watch, output, trace, arguments)
    watch.start()
    try:
        main = sys.modules["__main__"] = ModuleType("__main__")
        main.__dict__.update(__file__=os.path.abspath(script), __builtins__=builtins)
        with open(script, "rb") as file:
            code = compile(file.read(), main.__file__ or script, "exec")
        exec(code, main.__dict__)
    except SystemExit:
        end()
        raise
    except BaseException:
        hook = sys.excepthook

        def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
            hook(kind, error, without_own(error, trace))
            end()

        sys.excepthook = show
        raise
    end()
    return 0


def finish(watch: Watch, output: str | None, trace: str | None, arguments: list[str]) -> None:
    """End the audit, print the report and write the file."""
    watch.stop()
    report = Report(watch)
    sys.stdout.flush()
    print("-- audit " + "-" * 71, *report.lines(), sep="\n", file=sys.stderr)
    for option in ("--output", "--updates", "--trace"):
        if any(word.partition("=")[0] == option for word in arguments):
            print(f"{option} went to the script: options of audit come before the script", file=sys.stderr)
    try:
        if output is not None:
            save_json(output, report.to_jsonable())
        if trace is not None and watch.loop is not None:
            print(f"trace of {watch.loop.save(trace)} updates saved to {trace}", file=sys.stderr)
    except InputError as error:
        failed("torch_rnn", 2, str(error))
    sys.stderr.flush()


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
