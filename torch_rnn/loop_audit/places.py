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

OWN = str(Path(__file__).parent) + os.sep
LIBRARIES = tuple(
    folder + os.sep for folder in (*torch.__path__, *map(sysconfig.get_path, ("stdlib", "purelib", "platlib")))
)
MAX_ITEMS = 1000  # of a list or dict that is searched for modules


@functools.cache
def is_script(file: str) -> bool:
    """Whether a file is the script or a module of it, and not a library."""
    is_generated = file.startswith("<") and not file.startswith(("<ipython", "<stdin", "<string"))
    return not is_generated and not file.startswith((OWN, *LIBRARIES))


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
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if is_script(frame.f_code.co_filename):
            return f"{shown(frame.f_code.co_filename)}:{frame.f_lineno}"
        frame = frame.f_back
    return "?"


@functools.lru_cache(maxsize=4096)
def following(code: CodeType, offset: int) -> tuple[str, str]:
    """The instruction after a call, and the name that it uses."""
    for each in dis.get_instructions(code):
        if each.offset > offset and each.opname not in ("CACHE", "PRECALL"):
            return each.opname, str(each.argval)
    return "", ""


def drops_result() -> bool:
    """Whether the script itself makes the call and drops its result, as the statement `h.detach()` does."""
    frame = next(callers())
    is_own = is_script(frame.f_code.co_filename)
    return is_own and following(frame.f_code, frame.f_lasti)[0] == "POP_TOP"


def stored_as() -> str:
    """The variable to which the innermost line of the script assigns the result of its call; empty if none."""
    for frame in script_frames():
        name, variable = following(frame.f_code, frame.f_lasti)
        return variable if name.startswith("STORE_") else ""
    return ""


def variables() -> Iterator[tuple[str, Any]]:
    """Names and values of the variables of the script, of the outermost frame first, `self` and its parts last."""
    later = list[tuple[str, Any]]()
    for frame in reversed(list(script_frames())):
        for name, value in list({**frame.f_globals, **frame.f_locals}.items()):
            if name == "self":
                own = type(value).__name__
                later += [(own, value), *((f"{own}.{part}", v) for part, v in list(vars_of(value).items()))]
            elif not name.startswith("__"):
                yield name, value
                if not isinstance(value, torch.nn.Module | torch.Tensor):
                    yield from ((f"{name}.{part}", v) for part, v in list(vars_of(value).items()))
    yield from later


def vars_of(value: Any) -> dict[str, Any]:
    """The attributes of an object of a class; nothing for modules, classes and functions."""
    kinds = (ModuleType, type)
    return (
        {}
        if isinstance(value, kinds) or (callable(value) and not isinstance(value, torch.nn.Module))
        else vars_dict(value)
    )


def vars_dict(value: Any) -> dict[str, Any]:
    """The `__dict__` of an object, or nothing."""
    found = getattr(value, "__dict__", None)
    return found if isinstance(found, dict) else {}


def modules() -> Iterator[tuple[str, torch.nn.Module]]:
    """Modules that the script has variables for, also in lists and dicts, with their names."""
    for name, value in variables():
        if isinstance(value, torch.nn.Module):
            yield name, value
        for part, held in [("", value), *((f".{part}", held) for part, held in list(vars_dict(value).items()))]:
            if part.startswith("._"):
                continue
            if isinstance(held, list | tuple | dict) and 0 < len(held) <= MAX_ITEMS:
                items = held.items() if isinstance(held, dict) else enumerate(held)
                found = [(f"{name}{part}[{key!r}]", item) for key, item in list(items)]
                yield from ((path, item) for path, item in found if isinstance(item, torch.nn.Module))


def module_names() -> Iterator[tuple[torch.nn.Module, str, torch.nn.Module]]:
    """Modules, their names by the variables and attributes that hold them, and the modules of these variables."""
    for name, root in modules():
        for path, each in root.named_modules():
            yield each, f"{name}.{path}" if path else name, root


def parameter_names() -> dict[torch.Tensor, str]:
    """Names of the parameters that are in variables of the script."""
    found = dict[torch.Tensor, str]()
    for name, value in variables():
        if isinstance(value, torch.nn.Parameter):
            found.setdefault(value, name)
    for name, root in modules():
        for path, p in root.named_parameters():
            found.setdefault(p, f"{name}.{path}")
    return found


def is_named(state: torch.Tensor) -> bool:
    """Whether a frame of the script or its `self` has a name for a state, or for a tuple that starts with it.

    A name that starts with an underscore does not count.
    """
    for frame in script_frames():
        for name, value in {**frame.f_locals, **vars_dict(frame.f_locals.get("self"))}.items():
            first = value[0] if isinstance(value, tuple | list) and value else value
            is_candidate = isinstance(first, torch.Tensor) and not name.startswith("_") and first.shape == state.shape
            if is_candidate and first.device == state.device and torch.equal(first, state):
                return True
    return False
