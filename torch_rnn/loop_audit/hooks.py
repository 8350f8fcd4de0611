"""Hooks in torch that call a recorder, and leave a script as it is.

Functions are replaced where torch itself looks them up, so that it does not matter
under which name, or how early, a script has imported them: methods in their classes,
losses in the module of torch's operators, clipping in the decorator around it. An
error of the audit ends the audit alone. Compiled, traced and transformed calls are
not recorded.

The end of a record may come while torch iterates over the hooks of optimizers, among
which are those of the script. So functions are put back at once, and hooks that torch
calls stay registered until the audit itself has ended.
"""

import threading
from collections.abc import Callable, Generator
from contextlib import ExitStack
from functools import partial, wraps
from typing import Any
from unittest.mock import patch

import torch
from torch.utils.hooks import RemovableHandle

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.texts import one_line
from torch_rnn.loop_audit.events import LoopRecord, as_list
from torch_rnn.loop_audit.torch_internals import (
    cell_of_decorated,
    is_hidden,
    name_for_jit,
    run_uncompiled,
)

OTHER_THREADS = "other threads"
FAILED = object()  # the result of a call that raised an exception
Watcher = Generator[None, Any, Any]
Hook = Callable[..., Watcher]
ONE_AUDIT = threading.Lock()  # held by the audit that has hooks in torch


def _begun(hook: Hook, args: Any, kwargs: Any) -> Watcher:
    """Call a hook at the first `next`, so that an error of the call, as of arguments
    that the hook has not, ends the audit alone.
    """
    yield from hook(*args, **kwargs)


class Hooks:
    """What is replaced in torch from `begin` to `end`, by one audit at a time."""

    def __init__(self, record: LoopRecord) -> None:
        """Make hooks that replace nothing yet."""
        self.thread = 0  # the one that trains; 0 as long as it is not known
        self._record = record
        self._replaced = ExitStack()  # puts functions back
        self._registered = ExitStack()  # removes what torch itself calls

    def begin(self) -> None:
        """Refuse to begin where another audit has not ended."""
        if not ONE_AUDIT.acquire(blocking=False):
            raise InputError(
                "another audit is running: expected one audit at a time, end that"
                " first or leave this one out"
            )
        self._registered.callback(ONE_AUDIT.release)

    def end(self) -> None:
        """Leave torch as it was before."""
        self._replaced.close()
        self._registered.close()

    def is_of_training(self) -> bool:
        """Return whether this thread trains, as far as it is known."""
        return self.thread in (0, threading.get_ident())

    def call(self, hook: Callable[..., Any], *args: Any) -> None:
        """Call a hook, unless another thread trains."""
        if self.is_of_training():
            self.call_safely(hook, *args)
        else:
            self._record.unseen.add(OTHER_THREADS)

    def call_safely(self, hook: Callable[..., Any], *args: Any) -> None:
        """Call a hook. An error of the audit ends the audit and not the script. At
        the end of the record, hooks that torch itself calls go on.
        """
        record = self._record
        if record.error:
            return
        try:
            hook(*args)
        except StopIteration:  # the end of a hook, which is a generator
            pass
        except Exception as error:
            record.error = one_line(f"{type(error).__name__}: {error}")
        if record.error or record.is_full:
            self._replaced.close()

    def watch(self, original: Any, hook: Hook) -> Any:
        """Return a function that does what `original` does, and calls a hook.

        The hook is a generator, which gets the result by yield, or FAILED.
        """

        @wraps(original)
        def watched(*args: Any, **kwargs: Any) -> Any:
            """Call the original, and the hook before and after it."""
            if torch.compiler.is_compiling() or is_hidden():
                return original(*args, **kwargs)
            # Once for both: the audit may end while another thread is in a call.
            if not self.is_of_training():
                self._record.unseen.add(OTHER_THREADS)
                return original(*args, **kwargs)
            watcher = _begun(hook, args, kwargs)
            result: Any = FAILED
            self.call_safely(next, watcher)
            try:
                result = original(*args, **kwargs)
            finally:
                self.call_safely(watcher.send, result)
            return result

        run_uncompiled(watched)
        return watched

    def register(
        self, register: Callable[[Any], RemovableHandle], hook: Callable[..., None]
    ) -> RemovableHandle:
        """Register a hook that torch itself calls until the end, or until it is
        removed.
        """
        handle = register(partial(self.call, hook))
        self._registered.callback(handle.remove)
        return handle

    def patch(self, owner: Any, name: str, hook: Hook) -> None:
        """Watch an attribute of a class or module. torch.jit knows it as before."""
        original = getattr(owner, name)
        watched = self.watch(original, hook)
        name_for_jit(watched, original)
        self._replaced.enter_context(patch.object(owner, name, watched))

    def patch_decorated(self, decorated: Any, hook: Hook) -> None:
        """Watch a function of parameters that a decorator has in its closure."""
        original = decorated.__wrapped__
        cell = cell_of_decorated(decorated)
        watched = self.watch(original, hook)

        def listing(parameters: Any, *args: Any, **kwargs: Any) -> Any:
            """Call the watched function with parameters that can be read twice."""
            return watched(as_list(parameters), *args, **kwargs)

        cell.cell_contents = listing
        self._replaced.callback(setattr, cell, "cell_contents", original)
