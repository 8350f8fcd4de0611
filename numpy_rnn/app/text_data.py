"""Texts: characters as classes, and what letters and pairs of letters alone predict."""

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from numpy_rnn.common.errors import InputError, errors_about
from numpy_rnn.common.files import STANDARD_INPUT, read_text
from numpy_rnn.common.numbers import checked_integer
from numpy_rnn.common.records import NumpyArray
from numpy_rnn.common.texts import join_names, printable, some_of


class Text(NamedTuple):
    """A text as the classes of its characters."""

    name: str
    classes: NumpyArray  # of all characters, (n,)
    alphabet: str  # the characters in the order of their classes
    steps: int  # that are trained on, a multiple of k1
    held_out: int = 0  # characters at the end that are not trained on

    @property
    def sequence(self) -> NumpyArray:
        """The characters that are trained on, (steps + 1, 1)."""
        return self.classes[: self.steps + 1, None]


def make_text(paths: Sequence[str], k1: int, held_out: int, alphabet: str) -> Text:
    """Read a text from files, one after the other.

    Parameters
    ----------
    paths : sequence of str
        The paths of the files; "-" is standard input.
    k1 : int
        The text that is trained on is cut to a multiple of k1 steps, as in
        min-char-rnn.
    held_out : int
        Characters at the end that are not trained on.
    alphabet : str
        That of saved weights; if it is empty, all characters of the text, by Unicode.

    Returns
    -------
    Text
        The text.

    Raises
    ------
    InputError
        If a file cannot be read, is no text or has characters that are not in the
        alphabet, or if the text is too short.
    """
    parts = []
    for path in paths:
        with errors_about(f"text {printable(path)}"):
            part = read_text(path)
            if "\0" in part:
                raise InputError("it is binary: expected a text")
            if unknown := alphabet and sorted(set(part) - set(alphabet)):
                raise InputError(
                    f"it has {some_of(unknown)}; expected only characters of --weights"
                )
            parts.append(part)
    text = "".join(parts)
    name = join_names(list(map(text_name, paths)))
    with errors_about(f"text {name}"):
        alphabet = alphabet or "".join(sorted(set(text)))
        if len(alphabet) < 2:
            raise InputError("it has fewer than 2 different characters: expected more")
        checked_integer("--held-out", held_out, 0, max(0, len(text) - k1 - 1))
        steps = (len(text) - held_out - 1) // k1 * k1
        if steps <= 0:
            raise InputError(f"it has {len(text)} characters: expected more than --k1")
    index = {character: n for n, character in enumerate(alphabet)}
    classes = np.fromiter(map(index.__getitem__, text), np.int64, len(text))
    return Text(name, classes, alphabet, steps, held_out)


def text_name(path: str) -> str:
    """Return the name of a file, or of standard input."""
    if path == STANDARD_INPUT:
        return "standard input"
    return printable(os.path.basename(path))


def frequency_bits(text: Text) -> float:
    """Return the bits per held-out character of the frequencies of the characters in
    the rest, each of them counted once more.
    """
    p = character_frequencies(text)
    return float(-np.log2(p[held_out_classes(text)]).mean())


def bigram_bits(text: Text) -> float:
    """Return the bits per held-out character of a table of pairs in the rest.

    The characters after c are counted. The frequencies of all characters are added, as
    one more occurrence of c, so that pairs that never occur have a probability.
    """
    size = len(text.alphabet)
    trained = text.classes[: len(text.classes) - text.held_out]
    pairs = np.bincount(trained[:-1] * size + trained[1:], minlength=size**2)
    table = pairs.reshape(size, size) + character_frequencies(text)
    table = table / table.sum(axis=1, keepdims=True)
    before = text.classes[len(trained) - 1 : -1]
    return float(-np.log2(table[before, held_out_classes(text)]).mean())


def character_frequencies(text: Text) -> NumpyArray:
    """Return the probability of each character, from those not held out."""
    trained = text.classes[: len(text.classes) - text.held_out]
    counts = np.bincount(trained, minlength=len(text.alphabet)) + 1
    return np.asarray(counts / counts.sum())


def held_out_classes(text: Text) -> NumpyArray:
    """Return the classes of the characters that are held out."""
    return text.classes[len(text.classes) - text.held_out :]
