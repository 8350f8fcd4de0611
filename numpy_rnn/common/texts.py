"""Texts of messages: on one line, printable, and not too long."""

from collections.abc import Callable, Collection, Iterable
from sys import maxsize
from typing import Any

MAX_NAMES = 8  # in a message
MAX_NAME = 40  # characters of a name
MAX_VALUE = 80  # characters of a value
MAX_TEXT = 300  # characters of a text


def printable(text: str, longest: int = maxsize) -> str:
    """Return the text with escapes for newlines and the like, and "..." for what is
    too long.
    """
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    if len(shown) <= longest:
        return shown
    return shown[: longest - 3] + "..."


def one_line(text: str, longest: int = MAX_TEXT) -> str:
    """Return the text on one line of printable characters, with single spaces."""
    return printable(" ".join(text[: 4 * longest].split()), longest)


def some_of(names: Iterable[object]) -> str:
    """Return the first names, separated by commas, with "..." for the rest."""
    shown: list[str] = []
    for name in names:
        if len(shown) == MAX_NAMES:
            shown.append("...")
            break
        shown.append(printable(str(name), MAX_NAME))
    return ", ".join(shown)


def join_names(names: list[str]) -> str:
    """Return the names, separated by commas and "and"."""
    *first, last = names
    if not first:
        return last
    return f"{', '.join(first)} and {last}"


def pluralize(count: int, noun: str) -> str:
    """Return the count and the noun, "1 row" or "2 rows"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def short_repr(value: object, write: Callable[[Any], str] = str) -> str:
    """Return what str or repr writes of the value, on one short line."""
    try:
        return one_line(write(value), MAX_VALUE)
    except ValueError:  # Python does not write integers of thousands of digits
        return "a very large number"


def nearest_name(name: str, known: Collection[str]) -> str | None:
    """Return the known name that has these initials, or else the most similar one.

    Examples
    --------
    >>> nearest_name("lr", ["loss", "learning_rate"])
    'learning_rate'
    >>> nearest_name("momentun", ["momentum", "dampening"])
    'momentum'
    """
    for candidate in known:
        initials = "".join(word[0] for word in candidate.split("_"))
        if len(name) > 1 and name == initials:
            return candidate
    from difflib import get_close_matches  # takes a while to import

    similar = get_close_matches(name, known, 1)
    return similar[0] if similar else None
