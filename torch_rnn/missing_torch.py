"""What happens where torch is not installed: one clear line, and no traceback."""

import sys

from numpy_rnn.common.errors import failed
from numpy_rnn.common.packages import NO_TORCH


def missing_torch(error: ModuleNotFoundError) -> ModuleNotFoundError:
    """Return the error to raise where torch_rnn cannot import a module.

    Under `python -m torch_rnn` one line is printed instead, and the process ends with
    status 2: Python imports the package before its __main__.py, which could do so.
    """
    if error.name != "torch":
        return error
    # Until Python has found the __main__ of a package, the first argument is "-m".
    if sys.argv[:1] == ["-m"] and "torch_rnn" in sys.orig_argv:
        raise SystemExit(failed("torch_rnn", 2, NO_TORCH))
    return ModuleNotFoundError(NO_TORCH, name="torch")
