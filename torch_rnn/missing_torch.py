"""What happens where torch is not installed: one clear line, and no traceback."""

import sys

from numpy_rnn.common.packages import NO_TORCH


def missing_torch(error: ModuleNotFoundError) -> ModuleNotFoundError:
    """Return the error to raise where torch_rnn cannot import a module.

    Under `python -m torch_rnn` one line is printed instead, and the process ends with
    status 2: Python imports the package before its __main__.py, which could do so.
    """
    if error.name != "torch":
        return error
    if is_run_as_module("torch_rnn"):
        print(f"torch_rnn: {NO_TORCH}", file=sys.stderr)
        raise SystemExit(2)
    return ModuleNotFoundError(NO_TORCH, name="torch")


def is_run_as_module(package: str) -> bool:
    """Return whether Python is looking for the `__main__` of the package.

    Until it has found that file, the first argument is "-m".
    """
    return sys.argv[:1] == ["-m"] and package in sys.orig_argv
