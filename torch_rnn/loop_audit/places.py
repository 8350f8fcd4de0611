"""Places in the script: the line that made a call, and whether it drops the result."""

import dis
import functools
import os
import sys
import sysconfig
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
    if file.startswith((OWN, TORCH)) or (
        file.startswith("<") and not file.startswith(("<ipython", "<stdin", "<string"))
    ):
        return 2
    return 1 if file.startswith(LIBRARIES) else 0


def is_own(file: str) -> bool:
    """Whether a file is one of the audit, or of what runs a script for it."""
    return file.startswith((OWN, "<frozen runpy>")) or file == MAIN


def caller() -> FrameType | None:
    """The innermost frame of the script, or of a library where there is none."""
    frame: FrameType | None = sys._getframe(1)
    library = None
    while frame is not None:
        kind = _kind(frame.f_code.co_filename)
        if kind == 0:
            return frame
        if kind == 1 and library is None:
            library = frame
        frame = frame.f_back
    return library


def place(frame: FrameType | None = None) -> str:
    """FILE:LINE of a frame, of `caller` by default; the file relative to the working folder where it is in there."""
    frame = frame or caller()
    if frame is None:
        return "?"
    return f"{_shown(frame.f_code.co_filename)}:{frame.f_lineno}"


@functools.cache
def _shown(file: str) -> str:
    relative = os.path.relpath(file) if os.path.isabs(file) else file
    return file if relative.startswith("..") else relative


@functools.cache
def _operations(code: CodeType) -> list[tuple[int, str]]:
    """The offsets and names of the operations."""
    return [(each.offset, each.opname) for each in dis.get_instructions(code)]


def drops_result(frame: FrameType | None) -> bool:
    """Whether the result of the call that a frame makes is dropped: `h.detach()` as a statement, also in a list."""
    if frame is None:
        return False
    if frame.f_code.co_name == "<listcomp>":  # Python 3.11
        return drops_result(frame.f_back)
    following = [name for offset, name in _operations(frame.f_code) if offset > frame.f_lasti]
    return following[:1] == ["POP_TOP"]


def names_of(state: torch.Tensor) -> set[str]:
    """The names of a state, or of a tuple that starts with it, in the frames of the script and in their `self`."""
    found: set[str] = set()
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if _kind(frame.f_code.co_filename) == 0:
            names = dict(frame.f_locals)
            names |= getattr(names.get("self"), "__dict__", {})
            for name, value in names.items():
                first = value[0] if isinstance(value, tuple | list) and value else value
                if isinstance(first, torch.Tensor) and first.shape == state.shape and torch.equal(first, state):
                    found.add(name)
        frame = frame.f_back
    return found
