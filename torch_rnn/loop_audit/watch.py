"""Hooks in torch that leave a script as it is: an error of the audit ends the audit alone."""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from typing import Any
from unittest import mock

import torch

from numpy_rnn.common.errors import one_line
from torch_rnn.loop_audit.records import HIDDEN

Hook = Callable[..., Any]


class Watch:
    """Hooks that are removed by `stop`."""

    def __init__(self) -> None:
        self.error, self.is_active, self.is_busy, self.in_backward = "", True, False, False
        self.thread, self.hooks = threading.get_ident(), ExitStack()

    def is_off(self) -> bool:
        return self.is_busy or not self.is_active or threading.get_ident() != self.thread

    def is_quiet(self) -> bool:
        """Whether a call is not to be seen, as torch transforms, compiles or traces it."""
        if torch.compiler.is_compiling() or self.in_backward or self.is_off():
            return True
        is_transformed = torch._C._functorch.maybe_current_level() is not None
        return is_transformed or torch._C._is_tracing()

    def call(self, hook: Hook, *args: Any, **kwargs: Any) -> None:
        """Call a hook. An error of the audit ends the audit and not the script."""
        if self.is_off():
            return
        self.is_busy = True
        try:
            hook(*args, **kwargs)
        except StopIteration:  # the end of a hook that is a generator
            pass
        except Exception as error:
            self.error = one_line(f"{type(error).__name__}: {error}")
            self.stop()
        finally:
            self.is_busy = False

    def patch(self, owner: Any, name: str, hook: Hook) -> None:
        """Replace a function until `stop` by one that calls a hook, with the same arguments.

        The hook is a generator, which gets the result by yield, None after an error.
        """
        original = owner.__dict__[name]

        @wraps(original)
        def hooked(*args: Any, **kwargs: Any) -> Any:
            if self.is_quiet():
                return original(*args, **kwargs)
            shown, result = args, None
            if name.startswith("clip") and args and hasattr(args[0], "__next__"):
                shown = list(args[0]), *args[1:]  # the iterator can be read once
                args = (p for p in shown[0]), *args[1:]
            watcher = hook(*shown, **kwargs)
            self.call(next, watcher)
            try:
                result = original(*args, **kwargs)
            except BaseException as error:  # its traceback is as without audit
                error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next
                raise
            finally:
                self.call(watcher.send, result)
            return result

        patched: Any = hooked
        patched.__code__ = patched.__code__.replace(co_filename=HIDDEN)
        patched.__prepare_scriptable__ = lambda: original
        self.hooks.enter_context(mock.patch.object(owner, name, patched))

    def stop(self) -> None:
        """End the audit."""
        self.is_active = False
        self.hooks.close()
