"""Random inputs of a fixed seed, tried one by one: what test_bad_input.py and test_every_argument.py share.

No input may give a traceback, a warning, a hang, or a message that cannot be read. Each is drawn from (SEED, its
number): a failure says which, and what it was.
"""

import contextlib
import os
import signal
import traceback
import warnings

import numpy as np
import pytest

from numpy_rnn import InputError
from numpy_rnn.conformance.ports.protocol import PortFault

SEED = 20
LONGEST = 2000  # characters of a message
LIMIT = 60  # seconds for one input, which takes milliseconds: only a hang takes longer
SHOWN = 12  # failures of an entry point


def try_all(count, entry):
    """Try `count` inputs of an entry point, and fail with all that was wrong.

    entry(rng): yields what the input is, and then does it. It may raise InputError or PortFault of one line.
    """
    failures = []
    for number in range(count):
        given, trial = None, entry(np.random.default_rng((SEED, number)))
        try:
            with warnings.catch_warnings(), _time_limit():
                given = next(trial)
                next(trial, None)
        except (InputError, PortFault) as error:
            if not is_a_message(f"{error}\n"):
                failures.append(f"{number}: {given!r:.600}\n    no line that can be read: {str(error)!r:.200}")
        except (Exception, _Hangs) as error:
            at = traceback.extract_tb(error.__traceback__)[-1]
            what = f"{type(error).__name__}: {str(error)[:400]} ({os.path.basename(at.filename)}:{at.lineno})"
            failures.append(f"{number}: {given!r:.600}\n    {what}")
        finally:
            trial.close()
    if failures:
        more = [f"... and {len(failures) - SHOWN} more"] * (len(failures) > SHOWN)
        head = f"{len(failures)} of {count} inputs of seed {SEED}:"
        pytest.fail("\n".join([head, *failures[:SHOWN], *more]), pytrace=False)


class _Hangs(BaseException):
    """Not an Exception, which the code under test may well catch."""


@contextlib.contextmanager
def _time_limit():
    def alarm(number, frame):
        raise _Hangs(f"not done after {LIMIT} s")

    before = signal.signal(signal.SIGALRM, alarm)
    signal.setitimer(signal.ITIMER_REAL, LIMIT)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def is_a_message(text):
    """Whether it is one line that a terminal shows as it is, and not too long."""
    return text.endswith("\n") and text[:-1].isprintable() and len(text) < LONGEST and "Traceback" not in text
