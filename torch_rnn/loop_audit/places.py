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


def script_frames() -> Iterator[FrameType]:
    """The frames of the script, the innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if is_script(frame.f_code.co_filename):
            yield frame
        frame = frame.f_back


def place() -> str:
    """FILE:LINE of the innermost frame of the script."""
    frame = next(script_frames(), None)
    return "?" if frame is None else f"{shown(frame.f_code.co_filename)}:{frame.f_lineno}"


@functools.lru_cache(maxsize=4096)
def following(code: CodeType, offset: int) -> str:
    """The instruction after a call."""
    after = (
        i
        for i in dis.get_instructions(code)
        if i.offset > offset and i.opname not in ("CACHE", "PRECALL")
    )
    return next((each.opname for each in after), "")


def result_is_dropped() -> bool:
    """Whether the caller is the script itself, and drops the result of the call."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(OWN):
        frame = frame.f_back
    is_own = frame is not None and is_script(frame.f_code.co_filename)
    return frame is not None and is_own and following(frame.f_code, frame.f_lasti) == "POP_TOP"


def parts(value: Any) -> dict[str, Any]:
    """The attributes or items of an object, by what follows its name; nothing for a tensor or a class."""
    if isinstance(value, list | tuple | dict):
        items = list(value.items() if isinstance(value, dict) else enumerate(value))
        return {f"[{key!r}]": each for key, each in items} if len(items) <= MAX_ITEMS else {}
    found = (
        {}
        if isinstance(value, torch.Tensor | ModuleType | type)
        else getattr(value, "__dict__", {})
    )
    own = list(found.items()) if isinstance(found, dict) else []
    return {f".{name}": each for name, each in own if not str(name).startswith("_")}


def named(kind: type) -> Iterator[tuple[Any, str, Any]]:
    """The modules or parameters of the script, their names, and the values of the variables that hold them.

    The variables of the outermost frame come first, and those of `self` last.
    """
    variables, later = list[tuple[str, Any]](), list[tuple[str, Any]]()
    for frame in reversed(list(script_frames())):
        for name, value in {**frame.f_globals, **frame.f_locals}.items():
            if name == "self":
                later.append((type(value).__name__, value))
            elif not name.startswith("__"):
                variables.append((name, value))
    for variable in variables + later:
        held = [variable]
        for _ in range(3):  # the variable, its attributes or items, and those of its attributes
            for name, root in held:
                if isinstance(root, kind):
                    yield root, name, root
                if isinstance(root, nn.Module):
                    inner: Any = (
                        root.named_modules() if kind is nn.Module else root.named_parameters()
                    )
                    yield from ((each, f"{name}.{path}", root) for path, each in inner if path)
            attributes = [(name, root) for name, root in held if not name.endswith("]")]
            held = [
                (name + path, each)
                for name, root in attributes
                for path, each in parts(root).items()
            ]


def is_named(state: torch.Tensor) -> bool:
    """Whether a frame of the script or its `self` has a name for a state, or for a tuple that starts with it.

    A name that starts with an underscore does not count.
    """
    for frame in script_frames():
        own = {name: value for name, value in frame.f_locals.items() if not name.startswith("_")}
        for value in (*own.values(), *parts(own.get("self")).values()):
            first = value[0] if isinstance(value, tuple | list) and value else value
            is_candidate = isinstance(first, torch.Tensor) and first.shape == state.shape
            if is_candidate and first.device == state.device and torch.equal(first, state):
                return True
    return False
