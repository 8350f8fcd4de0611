"""Hooks in torch that call a recorder, and leave a script as it is.

Functions are replaced where torch itself looks them up, so that it does not matter
under which name, or how early, a script has imported them: methods in their classes,
losses in the module of torch's operators, clipping in the decorator around it. An
error of the audit ends the audit alone. Compiled, traced and transformed calls are
not recorded.
"""

import threading
from collections.abc import Callable, Generator
from contextlib import ExitStack
from functools import partial, wraps
from typing import Any
from unittest.mock import patch

import torch
from torch.jit import _builtins
from torch.utils.hooks import RemovableHandle

from numpy_rnn.common.texts import one_line
from torch_rnn.loop_audit.recurrent_modules import as_list

FAILED = object()  # the result of a call that raised an exception
Watcher = Generator[None, Any, None]
Hook = Callable[..., Watcher]


def _is_hidden() -> bool:
    """Return whether torch transforms or traces the functions that it calls."""
    level = torch._C._functorch.maybe_current_level()
    return level is not None or bool(torch._C._is_tracing())


def _run_uncompiled(function: Any) -> None:
    """Let torch.compile run the frames of a function as they are, and compile what
    these call.
    """
    dynamo: Any = torch._C._dynamo.eval_frame
    if hasattr(dynamo, "skip_code"):
        dynamo.skip_code(function.__code__)
    else:
        action = dynamo._FrameAction
        strategy = dynamo._FrameExecStrategy(action.SKIP, action.DEFAULT)
        dynamo.set_code_exec_strategy(function.__code__, strategy)


class Hooks:
    """What is replaced in torch until `undo` is closed."""

    def __init__(self) -> None:
        """Make hooks that replace nothing yet."""
        self.error = ""
        self.thread = 0  # the one that trains; 0 as long as it is not known
        self.has_other_threads = False
        self.undo = ExitStack()
        self._busy = set[int]()  # threads in which the audit itself calls torch

    def call(self, hook: Callable[..., Any], *args: Any) -> None:
        """Call a hook. An error of the audit ends the audit and not the script."""
        thread = threading.get_ident()
        if thread in self._busy or self.error:
            return
        if self.thread not in (0, thread):
            self.has_other_threads = True
            return
        self._busy.add(thread)
        try:
            hook(*args)
        except StopIteration:  # the end of a hook, which is a generator
            pass
        except Exception as error:
            self.error = one_line(f"{type(error).__name__}: {error}")
            self.undo.close()
        finally:
            self._busy.discard(thread)

    def watch(self, original: Any, hook: Hook) -> Any:
        """Return a function that does what `original` does, and calls a hook.

        The hook is a generator, which gets the result by yield, or FAILED.
        """

        @wraps(original)
        def watched(*args: Any, **kwargs: Any) -> Any:
            """Call the original, and the hook before and after it."""
            if torch.compiler.is_compiling() or _is_hidden():
                return original(*args, **kwargs)
            watcher = hook(*args, **kwargs)
            result: Any = FAILED
            self.call(next, watcher)
            try:
                result = original(*args, **kwargs)
            except BaseException as error:  # its traceback is as without audit
                if error.__traceback__ is not None:
                    error.__traceback__ = error.__traceback__.tb_next
                raise
            finally:
                self.call(watcher.send, result)
            return result

        _run_uncompiled(watched)
        return watched

    def register(
        self, register: Callable[[Any], RemovableHandle], hook: Callable[..., None]
    ) -> None:
        """Register a hook that torch itself calls."""
        self.undo.callback(register(partial(self.call, hook)).remove)

    def patch(self, owner: Any, name: str, hook: Hook) -> None:
        """Watch an attribute of a class or a module."""
        watched = self.watch(getattr(owner, name), hook)
        self.undo.enter_context(patch.object(owner, name, watched))

    def patch_operator(self, owner: Any, name: str, hook: Hook) -> None:
        """Watch an operator of torch, under whose name torch.jit knows it still."""
        original = getattr(owner, name)
        operator = _builtins._find_builtin(original)  # type: ignore[no-untyped-call]
        self.patch(owner, name, hook)
        _builtins._register_builtin(getattr(owner, name), operator)

    def patch_decorated(self, decorated: Any, hook: Hook) -> None:
        """Watch a function of parameters that a decorator has in its closure."""
        original = decorated.__wrapped__
        (cell,) = (c for c in decorated.__closure__ if c.cell_contents is original)
        watched = self.watch(original, hook)

        def listing(parameters: Any, *args: Any, **kwargs: Any) -> Any:
            """Call the watched function with parameters that can be read twice."""
            return watched(as_list(parameters), *args, **kwargs)

        cell.cell_contents = listing
        self.undo.callback(setattr, cell, "cell_contents", original)
