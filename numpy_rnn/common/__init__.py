"""Ctrl-C while `python -m` imports a package: before there is a command line that could handle it."""

import sys


def one_line_for_ctrl_c() -> None:
    """Let a KeyboardInterrupt that nothing handles end the process with one line, and not with a traceback.

    Only where `python -m` imports a package to run it; programs that import the packages are left alone.
    """
    if sys.argv[:1] == ["-m"]:  # until the module is found that is to be run
        sys.excepthook = _report


def _report(kind, error, traceback):
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
    elif sys.stderr is not None:
        print("interrupted", file=sys.stderr)


one_line_for_ctrl_c()
