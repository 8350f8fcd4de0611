"""Models of characters that are used: samples, and bits per character of a text."""

import numpy as np

from numpy_rnn.app.networks import Networks
from numpy_rnn.app.output import Progress
from numpy_rnn.app.text_data import Text
from numpy_rnn.app.training import REMEDIES, Diverged
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import NumpyArray
from numpy_rnn.common.texts import some_of

PIECE = 1000  # characters whose outputs are kept at once
WARM_UP = 1000  # characters before the held-out ones that a network reads


def classes_of(text: str, alphabet: str) -> NumpyArray:
    """Return the classes of characters, (n, 1).

    Raises InputError if one is not in the alphabet.
    """
    if unknown := sorted(set(text) - set(alphabet)):
        raise InputError(
            f"the start has {some_of(unknown)}: expected only characters of the model,"
            f" {''.join(c for c in alphabet if c.isprintable())!r}"
        )
    return np.array([alphabet.index(c) for c in text], np.int64).reshape(-1, 1)


def draw_text(
    networks: Networks,
    alphabet: str,
    start: NumpyArray,
    length: int,
    temperature: float,
    generator: np.random.Generator,
    progress: Progress | None = None,
) -> str:
    """Draw a text: each character from softmax(y / temperature), the next input.

    Parameters
    ----------
    networks : Networks
        One network.
    alphabet : str
        Its characters, in the order of their classes.
    start : ndarray of int, (n, 1)
        Classes that the network reads first, from the state zero: one or more.
    length : int
        Number of characters that are drawn.
    temperature : float
        What the outputs are divided by.
    generator : Generator
        The source of random numbers.
    progress : Progress, optional
        Where to show how many are drawn.

    Returns
    -------
    str
        The characters that are drawn.

    Raises
    ------
    Diverged
        If an output is not finite.
    """
    h = networks.initial_state()
    x = start
    sample = []
    for _ in range(length):
        outputs, states = networks.forward(x, h)
        h = states[-1]
        y = outputs[-1, 0].astype(np.float64)
        if not np.isfinite(y).all():
            raise Diverged(f"a sample cannot be drawn: y is not finite; {REMEDIES}")
        p = np.exp((y - y.max()) / temperature)
        x = generator.choice(len(p), (1, 1), p=p / p.sum())
        sample.append(alphabet[x.item()])
        if progress is not None:
            progress.show(len(sample))
    return "".join(sample)


def held_out_nats(networks: Networks, text: Text) -> float:
    """Return the cross-entropy of a network, the sum over the held-out characters.

    The network reads the last 1,000 characters before them first, from the state zero.
    """
    border = len(text.classes) - text.held_out
    first = max(0, border - 1 - WARM_UP)
    h = networks.initial_state()
    x = text.classes[first:-1, None]
    target = text.classes[first + 1 :, None]
    counted = border - 1 - first  # the first step whose target is held out
    total = 0.0
    for begin in range(0, len(x), PIECE):
        piece = slice(begin, begin + PIECE)
        y, states = networks.forward(x[piece], h)
        h = states[-1]
        skipped = min(max(counted - begin, 0), len(y))
        logits = y[skipped:, 0].astype(np.float64)
        if len(logits):
            total += negative_log_likelihood(logits, target[piece][skipped:, 0])
    return total


def negative_log_likelihood(logits: NumpyArray, target: NumpyArray) -> float:
    """Return the sum of -log p of the targets."""
    logits = logits - logits.max(axis=1, keepdims=True)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return float(-log_p[np.arange(len(target)), target].sum())
