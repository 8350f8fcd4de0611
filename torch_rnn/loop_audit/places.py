"""Places in the script: the line that made a call, and what the script does with a result."""

import dis
import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import torch

OWN = str(Path(__file__).parent) + os.sep
LIBRARIES = tuple(
    folder + os.sep for folder in (*torch.__path__, *map(sysconfig.get_path, ("stdlib", "purelib", "platlib")))
)


def is_script(frame: FrameType) -> bool:
    """Whether a frame is one of the script or of a module of it, and not of a library."""
    file = frame.f_code.co_filename
    is_generated = file.startswith("<") and not file.startswith(("<ipython", "<stdin", "<string"))
    return not is_generated and not file.startswith((OWN, *LIBRARIES))


def callers() -> Iterator[FrameType]:
    """The frames outside of the audit, the innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if not frame.f_code.co_filename.startswith(OWN):
            yield frame
        frame = frame.f_back


def place() -> str:
    """FILE:LINE of the innermost frame of the script; the file relative to the working folder where it is in there."""
    for frame in filter(is_script, callers()):
        file = frame.f_code.co_filename
        relative = os.path.relpath(file) if os.path.isabs(file) else file
        return f"{file if relative.startswith('..') else relative}:{frame.f_lineno}"
    return "?"


def drops_result() -> bool:
    """Whether the script itself makes the call and drops its result, as the statement `h.detach()` does."""
    frame = next(callers())
    following = next(filter(None, frame.f_code.co_code[frame.f_lasti + 2 :: 2]))  # after inline caches, which are 0
    return is_script(frame) and dis.opname[following] == "POP_TOP"


def is_named(state: torch.Tensor) -> bool:
    """Whether a frame of the script or its `self` has a name for a state, or for a tuple that starts with it.

    A name that starts with an underscore does not count.
    """
    for frame in filter(is_script, callers()):
        for name, value in {**frame.f_locals, **getattr(frame.f_locals.get("self"), "__dict__", {})}.items():
            first = value[0] if isinstance(value, tuple | list) and value else value
            is_candidate = isinstance(first, torch.Tensor) and not name.startswith("_") and first.shape == state.shape
            if is_candidate and first.device == state.device and torch.equal(first, state):
                return True
    return False
