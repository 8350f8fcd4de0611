"""Texts and their characters: reading a file, the alphabet, and the class of every character."""

import sys
import unicodedata

import numpy as np

from numpy_rnn.app.configuration import STANDARD_INPUT
from numpy_rnn.app.storage import load_arrays
from numpy_rnn.common.errors import InputError

MIN_CHARACTERS = 2  # different ones: one alone is always predicted
MAX_NAMED = 3  # unknown characters in a message


def read_characters(path: str) -> str:
    """The text of a file, or of standard input for "-": UTF-8, with or without a byte order mark, any line ends.

    Raises InputError if it is missing, empty, or not a text.
    """
    what = "text from standard input" if path == STANDARD_INPUT else f"text {path}"
    try:
        text = _bytes_of(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{what} is not UTF-8: byte {error.object[error.start]:#04x} at position {error.start}; expected a text"
            " file; convert it, for example by iconv"
        ) from None
    except FileNotFoundError:
        raise InputError(f"{what} does not exist: expected a text file; check the path") from None
    except OSError as error:
        raise InputError(f"{what} cannot be read: {error.strerror or error}; check the path") from None
    if not text:
        raise InputError(f"{what} is empty: expected a text with {MIN_CHARACTERS} or more different characters")
    if "\0" in text:
        raise InputError(
            f"{what} has a zero byte at character {text.index(chr(0)) + 1}: expected a text file, and not a binary one"
        )
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _bytes_of(path: str) -> bytes:
    if path != STANDARD_INPUT:
        with open(path, "rb") as file:
            return file.read()
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError("text from standard input: it is a terminal or closed; expected a pipe, or < FILE")
    stream = getattr(sys.stdin, "buffer", None)
    return sys.stdin.read().encode() if stream is None else stream.read()


def alphabet_of(text: str, path: str) -> str:
    """The characters of a text, each once, in the order of Unicode. Raises InputError if there is only one."""
    alphabet = "".join(sorted(set(text)))
    if len(alphabet) < MIN_CHARACTERS:
        raise InputError(
            f"text {path} has no character but {described(alphabet)}: expected {MIN_CHARACTERS} or more different"
            " characters"
        )
    return alphabet


def alphabet_of_weights(path: str) -> str | None:
    """The alphabet in a run file, whose weights a new run starts from; None if the file has none."""
    arrays = load_arrays(path, "weights file")
    return None if "alphabet" not in arrays else decoded(arrays["alphabet"], f"weights file {path}")


def encoded(alphabet: str) -> np.bytes_:
    """An alphabet as an array of bytes, for a file."""
    return np.bytes_(alphabet.encode())


def decoded(array: np.ndarray, file: str) -> str:
    """The inverse of `encoded`. Raises InputError unless it is an alphabet."""
    try:
        alphabet = array.tobytes().decode()
    except UnicodeDecodeError:
        alphabet = ""
    if array.dtype.kind != "S" or len(alphabet) < MIN_CHARACTERS or list(alphabet) != sorted(set(alphabet)):
        raise InputError(
            f"{file}: alphabet is {array.dtype} of shape {array.shape}: expected the characters of a text in UTF-8,"
            " each once, in the order of Unicode"
        )
    return alphabet


def classes_of(text: str, alphabet: str, path: str) -> np.ndarray:
    """The class of every character: its place in the alphabet, from 0, as integers (N,).

    Raises InputError on characters that the alphabet does not have.
    """
    unknown = sorted(set(text) - set(alphabet))
    if unknown:
        shown = ", ".join(map(described, unknown[:MAX_NAMED]))
        more = f" and {len(unknown) - MAX_NAMED} more" if len(unknown) > MAX_NAMED else ""
        raise InputError(
            f"text {path} has {shown}{more}, which the alphabet of the run, {len(alphabet)} characters, does not have:"
            " expected the text of the run, or one of the same characters"
        )
    points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    return np.searchsorted(np.frombuffer(alphabet.encode("utf-32-le"), np.uint32), points)


def described(character: str) -> str:
    """A character with its number and name: 'é' (U+00E9, LATIN SMALL LETTER E WITH ACUTE)."""
    name = unicodedata.name(character, "")
    return f"{character!r} (U+{ord(character):04X}{', ' + name if name else ''})"


def visible(text: str) -> str:
    """A text that is safe on a terminal: line ends and tabs as they are, other control characters as escapes."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)
