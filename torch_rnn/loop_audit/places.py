"""Places in the script: the line that made a call, and whether it drops the result."""

import dis
import functools
import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType

import torch

OWN = str(Path(__file__).parent) + os.sep
TORCH = os.path.dirname(torch.__file__) + os.sep
MAIN = str(Path(__file__).parents[1] / "__main__.py")
LIBRARIES = tuple(sysconfig.get_paths()[name] + os.sep for name in ("stdlib", "purelib", "platlib"))


@functools.cache
def _kind(file: str) -> int:
    """0 for a file of the script, 1 for a library, 2 for torch and this package."""
    is_frozen = file.startswith("<") and not file.startswith(("<ipython", "<stdin", "<string"))
    return 2 if is_frozen or file.startswith((OWN, TORCH)) else int(file.startswith(LIBRARIES))


def is_own(file: str) -> bool:
    """Whether a file is one of the audit, or of what runs a script for it."""
    return file.startswith((OWN, "<frozen runpy>")) or file == MAIN


def frames() -> Iterator[FrameType]:
    """The frames of the script and of libraries, the innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if _kind(frame.f_code.co_filename) < 2:
            yield frame
        frame = frame.f_back


def caller() -> FrameType | None:
    """The innermost frame of the script, or of a library where there is none."""
    return min(frames(), key=lambda frame: _kind(frame.f_code.co_filename), default=None)


def place(frame: FrameType | None = None) -> str:
    """FILE:LINE of a frame, of `caller` by default; the file relative to the working folder where it is in there."""
    frame = frame or caller()
    return "?" if frame is None else f"{_shown(frame.f_code.co_filename)}:{frame.f_lineno}"


@functools.cache
def _shown(file: str) -> str:
    relative = os.path.relpath(file) if os.path.isabs(file) else file
    return file if relative.startswith("..") else relative


@functools.cache
def _drops(code: CodeType, offset: int) -> bool:
    return next((each.opname for each in dis.get_instructions(code) if each.offset > offset), "") == "POP_TOP"


def drops_result(frame: FrameType | None) -> bool:
    """Whether the result of the call that a frame makes is dropped: `h.detach()` as a statement, also in a list."""
    if frame is not None and frame.f_code.co_name == "<listcomp>":  # Python 3.11
        frame = frame.f_back
    return frame is not None and _drops(frame.f_code, frame.f_lasti)


def is_named(state: torch.Tensor) -> bool:
    """Whether a frame of the script or its `self` has a name for a state, or for a tuple that starts with it.

    A name that starts with an underscore does not count.
    """
    for frame in frames():
        for name, value in {**frame.f_locals, **getattr(frame.f_locals.get("self"), "__dict__", {})}.items():
            first = value[0] if isinstance(value, tuple | list) and value else value
            if name.startswith("_") or not isinstance(first, torch.Tensor) or first.device != state.device:
                continue
            if first.shape == state.shape and torch.equal(first, state):
                return True
    return False
