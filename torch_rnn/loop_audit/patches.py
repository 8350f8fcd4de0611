"""Patches of torch that call the audit: an error of the audit ends it and not the script, and all are undone."""

import functools
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch

Hook = Callable[..., Any]


class Patches:
    """Functions that are replaced until `undo`. They call hooks in the thread that made this object, and not nested."""

    def __init__(self, failed: Callable[[Exception], None]):
        self.failed, self.is_active, self.is_busy = failed, True, False
        self.thread, self.made = threading.get_ident(), list[tuple[Any, str, Any, Any]]()

    def calls(self, hook: Hook | None, *args: Any, **kwargs: Any) -> None:
        """Call a hook. An error of the audit ends the audit and not the script."""
        if hook is not None and self.is_active and not self.is_busy:
            self.is_busy = True
            try:
                hook(*args, **kwargs)
            except Exception as error:
                self.failed(error)
            finally:
                self.is_busy = False

    def guard(self, hook: Hook, *args: Any) -> Hook:
        """The hook with its first arguments, called by `calls`."""
        return functools.partial(self.calls, hook, *args)

    def is_quiet(self) -> bool:
        """Whether a call is none of the script, or one that torch traces."""
        if not self.is_active or self.is_busy or threading.get_ident() != self.thread:
            return True
        return torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[no-untyped-call]

    def patch(self, owner: Any, name: str, after: Hook, before: Hook | None = None) -> None:
        """Replace a function wherever a module has it.

        before: gets the arguments; after: gets the result, None if there is an error, and the arguments.
        """
        original = owner.__dict__[name] if isinstance(owner, type) else getattr(owner, name)

        @functools.wraps(original)
        def patched(*args: Any, **kwargs: Any) -> Any:
            if self.is_quiet():
                return original(*args, **kwargs)
            if name.startswith("clip"):  # parameters can be an iterator, which can be read once
                args = tuple(list(each) if isinstance(each, Iterator) else each for each in args)
                kwargs = {key: list(each) if isinstance(each, Iterator) else each for key, each in kwargs.items()}
            self.calls(before, *args, **kwargs)
            result = None
            try:
                result = original(*args, **kwargs)
            finally:
                self.calls(after, result, *args, **kwargs)
            return result

        owners = [owner]
        if not isinstance(owner, type):  # also where it was imported from there
            owners = [m for m in list(sys.modules.values()) if getattr(m, "__dict__", {}).get(name) is original]
        self.made += (made := [(each, name, original, patched) for each in owners])
        self.put(made, is_patched=True)

    def put(self, made: list[tuple[Any, str, Any, Any]], is_patched: bool) -> None:
        """Put patched functions into their places, or the original ones."""
        for owner, name, original, patched in made:
            setattr(owner, name, patched if is_patched else original)

    def undo(self) -> None:
        """Restore all functions."""
        self.is_active = False
        self.put(self.made, is_patched=False)
