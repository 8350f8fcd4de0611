"""Places in the script: the line that made a call, and what the script does with a result."""

import dis
import os
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import CodeType, FrameType

import torch

OWN = str(Path(__file__).parent) + os.sep
TORCH = os.path.dirname(torch.__file__) + os.sep
MAIN = str(Path(__file__).parents[1] / "__main__.py")
LIBRARIES = tuple(sysconfig.get_paths()[name] + os.sep for name in ("stdlib", "purelib", "platlib"))


def is_own(file: str) -> bool:
    """Whether a file is one of the audit, or of what runs a script for it."""
    return file.startswith((OWN, "<frozen runpy>")) or file == MAIN


@cache
def is_library(file: str) -> bool:
    """Whether a file is not the script's, nor a module of the script."""
    is_generated = file.startswith("<") and not file.startswith(("<ipython", "<stdin", "<string"))
    return is_generated or file.startswith((OWN, *LIBRARIES))


def callers() -> Iterator[FrameType]:
    """The frames outside of the audit and of torch, the innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if not frame.f_code.co_filename.startswith((OWN, TORCH)):
            yield frame
        frame = frame.f_back


def script_frames() -> Iterator[FrameType]:
    """The frames of the script."""
    return (frame for frame in callers() if not is_library(frame.f_code.co_filename))


def place() -> str:
    """FILE:LINE of the innermost frame of the script; the file relative to the working folder where it is in there."""
    frame = next(script_frames(), None)
    return "?" if frame is None else f"{_shown(frame.f_code.co_filename)}:{frame.f_lineno}"


@cache
def _shown(file: str) -> str:
    relative = os.path.relpath(file) if os.path.isabs(file) else file
    return file if relative.startswith("..") else relative


@cache
def _drops(code: CodeType, offset: int) -> bool:
    return next((each.opname for each in dis.get_instructions(code) if each.offset > offset), "") == "POP_TOP"


def drops_result() -> bool:
    """Whether the script itself makes the call and drops its result, as the statement `h.detach()` does."""
    frame = next(callers(), None)
    return frame is not None and not is_library(frame.f_code.co_filename) and _drops(frame.f_code, frame.f_lasti)


def is_named(state: torch.Tensor) -> bool:
    """Whether a frame of the script or its `self` has a name for a state, or for a tuple that starts with it.

    A name that starts with an underscore does not count.
    """
    for frame in script_frames():
        for name, value in {**frame.f_locals, **getattr(frame.f_locals.get("self"), "__dict__", {})}.items():
            first = value[0] if isinstance(value, tuple | list) and value else value
            is_candidate = isinstance(first, torch.Tensor) and not name.startswith("_") and first.shape == state.shape
            if is_candidate and first.device == state.device and torch.equal(first, state):
                return True
    return False
