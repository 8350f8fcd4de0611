"""Patches of torch that call the audit: an error of the audit ends it and not the script, and all are undone."""

import functools
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

Hook = Callable[..., None]


def ignore(*_: Any, **__: Any) -> None:
    """Do nothing."""


class Patches:
    """Functions that are replaced until `undo`. They call hooks in the thread that made this object, and not nested."""

    def __init__(self, failed: Callable[[Exception], None]):
        self.failed, self.is_active, self.is_busy, self.stack = failed, True, False, ExitStack()
        self.thread, self.made = threading.get_ident(), list[tuple[Any, str, Any, Any]]()

    @property
    def is_quiet(self) -> bool:
        """Whether a call is none of the script, or one that torch traces."""
        if not self.is_active or self.is_busy or threading.get_ident() != self.thread:
            return True
        return torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[no-untyped-call]

    def call(self, hook: Hook, *args: Any, **kwargs: Any) -> None:
        """Call a hook. An error of the audit ends the audit and not the script."""
        if self.is_active and not self.is_busy:
            self.is_busy = True
            try:
                hook(*args, **kwargs)
            except Exception as error:
                self.failed(error)
            finally:
                self.is_busy = False

    def guard(self, hook: Hook) -> Hook:
        """The hook, called by `call`."""
        return functools.partial(self.call, hook)

    def patch(self, owner: Any, name: str, after: Hook, before: Hook = ignore, is_lasting: bool = False) -> None:
        """Replace a function wherever a module has it.

        before: gets the arguments; after: gets the result, None if there is an error, and the arguments. is_lasting:
        it stays when the others are suspended.
        """
        original = owner.__dict__[name] if isinstance(owner, type) else getattr(owner, name)

        @functools.wraps(original)
        def patched(*args: Any, **kwargs: Any) -> Any:
            if self.is_quiet:
                return original(*args, **kwargs)
            if name.startswith("clip"):  # parameters can be an iterator, which can be read once
                args = tuple(list(each) if isinstance(each, Iterator) else each for each in args)
                kwargs = {key: list(each) if isinstance(each, Iterator) else each for key, each in kwargs.items()}
            if before is not ignore:
                self.call(before, *args, **kwargs)
            result = None
            try:
                result = original(*args, **kwargs)
            finally:
                self.call(after, result, *args, **kwargs)
            return result

        owners = [owner]
        if not isinstance(owner, type):  # also where it was imported from there
            owners = [m for m in list(sys.modules.values()) if getattr(m, "__dict__", {}).get(name) is original]
        for each in owners:
            setattr(each, name, patched)
            self.stack.callback(setattr, each, name, original)
            if not is_lasting:
                self.made.append((each, name, original, patched))

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """The original functions, for torch.jit.script, which reads their source."""
        for owner, name, original, _ in self.made:
            setattr(owner, name, original)
        try:
            yield
        finally:
            for owner, name, _, patched in self.made if self.is_active else ():
                setattr(owner, name, patched)

    def undo(self) -> None:
        """Restore all functions."""
        self.is_active = False
        self.stack.close()
