"""Places in the script: the line that made a call, what it does with a result, and the names of its variables."""

import dis
import functools
import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any

import torch
from torch import nn

OWN = str(Path(__file__).parent) + os.sep
FOLDERS = (*torch.__path__, *map(sysconfig.get_path, ("stdlib", "purelib", "platlib")))
LIBRARIES = (OWN, *(folder + os.sep for folder in FOLDERS))
MAX_ITEMS = 1000  # of a list or dict that is searched for modules


@functools.cache
def is_script(file: str) -> bool:
    """Whether a file is the script or a module of it, and not a library."""
    is_generated = file.startswith("<") and not file.startswith(("<ipython", "<stdin", "<string"))
    return not is_generated and not file.startswith(LIBRARIES)


@functools.cache
def shown(file: str) -> str:
    """The name of a file; relative to the working folder if it is in there."""
    relative = os.path.relpath(file) if os.path.isabs(file) else file
    return file if relative.startswith("..") else relative


def callers() -> Iterator[FrameType]:
    """The frames outside of the audit, the innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if not frame.f_code.co_filename.startswith(OWN):
            yield frame
        frame = frame.f_back


def script_frames() -> Iterator[FrameType]:
    """The frames of the script, the innermost first."""
    return (frame for frame in callers() if is_script(frame.f_code.co_filename))


def place() -> str:
    """FILE:LINE of the innermost frame of the script."""
    frame = next(script_frames(), None)
    return "?" if frame is None else f"{shown(frame.f_code.co_filename)}:{frame.f_lineno}"


@functools.lru_cache(maxsize=4096)
def following(code: CodeType, offset: int) -> tuple[str, str]:
    """The instruction after a call, and the name that it uses."""
    after = (i for i in dis.get_instructions(code) if i.offset > offset and i.opname not in ("CACHE", "PRECALL"))
    return next(((each.opname, str(each.argval)) for each in after), ("", ""))


def use_of_result(is_direct: bool) -> tuple[str, str]:
    """The instruction that uses the result of a call by the script, and the name there; nothing if a library calls."""
    frame = next(callers() if is_direct else script_frames(), None)
    is_own = frame is not None and is_script(frame.f_code.co_filename)
    return following(frame.f_code, frame.f_lasti) if frame is not None and is_own else ("", "")


def attributes(value: Any) -> dict[str, Any]:
    """The attributes of an object; nothing for a tensor, a module of Python or a class."""
    found = {} if isinstance(value, torch.Tensor | ModuleType | type) else getattr(value, "__dict__", {})
    return {n: v for n, v in list(found.items()) if not n.startswith("_")} if isinstance(found, dict) else {}


def values() -> Iterator[tuple[str, Any]]:
    """Names and values of the variables of the script, of the outermost frame first and `self` last, and of their
    attributes and items.
    """
    variables, later = list[tuple[str, Any]](), list[tuple[str, Any]]()
    for frame in reversed(list(script_frames())):
        for name, value in {**frame.f_globals, **frame.f_locals}.items():
            if name == "self":
                later.append((type(value).__name__, value))
            elif not name.startswith("__"):
                variables.append((name, value))
    for name, value in variables + later:
        held = [(name, value), *((f"{name}.{part}", each) for part, each in attributes(value).items())]
        yield from held
        for path, each in held:
            if isinstance(each, list | tuple | dict) and len(each) <= MAX_ITEMS:
                items = each.items() if isinstance(each, dict) else enumerate(each)
                yield from ((f"{path}[{key!r}]", item) for key, item in list(items))


def named(kind: type) -> Iterator[tuple[Any, str, Any]]:
    """The modules or parameters of the script, their names, and the values of the variables that hold them."""
    for name, root in values():
        if isinstance(root, kind):
            yield root, name, root
        if isinstance(root, nn.Module):
            parts: Any = root.named_modules() if kind is nn.Module else root.named_parameters()
            yield from ((each, f"{name}.{path}", root) for path, each in parts if path)


def is_named(state: torch.Tensor) -> bool:
    """Whether a frame of the script or its `self` has a name for a state, or for a tuple that starts with it.

    A name that starts with an underscore does not count.
    """
    for frame in script_frames():
        for name, value in {**frame.f_locals, **attributes(frame.f_locals.get("self"))}.items():
            first = value[0] if isinstance(value, tuple | list) and value else value
            is_candidate = isinstance(first, torch.Tensor) and not name.startswith("_") and first.shape == state.shape
            if is_candidate and first.device == state.device and torch.equal(first, state):
                return True
    return False
