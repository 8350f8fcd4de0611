"""The columns of a series file: chosen by name or by number."""

from difflib import get_close_matches

from numpy_rnn.common.errors import InputError

MOST_NAMES = 20  # in a message


def places_of(columns, names, count) -> list[int]:
    """The places, from 0, of the chosen columns among `count`; all of them where `columns` is None.

    columns: names, or numbers from 1, as strings. names: those of the columns, or None.

    Raises InputError on a column that is not there or is chosen twice, and where none is chosen.
    """
    if columns is None:
        return list(range(count))
    places: list[int] = []
    for column in (columns,) if isinstance(columns, str) else columns:
        place = _place(column.strip(), names, count)
        if place in places:
            raise InputError(f"column {column!r} is chosen twice; expected every column once")
        places.append(place)
    if not places:
        raise InputError(f"no column is chosen; expected {_what_there_is(names, count)}")
    return places


def names_at(places, names, count) -> tuple[str, ...] | None:
    """The names of the columns at these places; None without a line of names that fits the columns."""
    if names is None or len(names) != count:
        return None
    return tuple(names[place] or f"column {place + 1}" for place in places)


def _place(column, names, count):
    if column.isdecimal():  # no name is: a name does not begin with a digit
        place = int(column) - 1
        if 0 <= place < count:
            return place
    elif names is not None and column in names:
        if names.count(column) > 1:
            raise InputError(f"{names.count(column)} columns are named {column!r}; choose by number, 1 to {count}")
        if len(names) != count:
            raise InputError(
                f"the line of names has {len(names)} and the line after it {count} columns, so {column!r} has no sure"
                f" place; choose by number, 1 to {count}"
            )
        return names.index(column)
    close = get_close_matches(column, names or (), 1)
    meant = f" (did you mean {close[0]!r}?)" if close else ""
    raise InputError(f"there is no column {column!r}{meant}; expected {_what_there_is(names, count)}")


def _what_there_is(names, count):
    numbers = f"1 to {count}" if count > 1 else "1"
    if names is None:
        return f"a number, {numbers}, as there is no line of names"
    more = ", ..." if len(names) > MOST_NAMES else ""
    return f"{', '.join(map(repr, names[:MOST_NAMES]))}{more}, or a number, {numbers}"
