"""Code that both backends import. Importing it sets what Ctrl-C does while `python -m` imports a package."""

import sys
from types import TracebackType


def one_line_for_ctrl_c() -> None:
    """Let an unhandled KeyboardInterrupt print one line in place of a traceback.

    Only where `python -m` imports a package to run it; programs that import the packages are not changed.
    """
    if sys.argv[:1] == ["-m"]:  # as it is until Python has found the module to run
        sys.excepthook = _report


def _report(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
    elif sys.stderr is not None:
        print("interrupted", file=sys.stderr)


one_line_for_ctrl_c()
