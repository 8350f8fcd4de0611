"""Names from files, made fit for a terminal, a table and a figure."""

MAX_WIDTH = 24  # of a name in a table, characters
MAX_NAMED = 5  # columns in a heading
MAX_MESSAGE = 1000  # characters of an error message


def printable(text: str) -> str:
    """The text with escapes for what is no printable character, such as a line end or a byte that is not UTF-8."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def one_line(message: str) -> str:
    """The message on one line of printable characters, its middle replaced by dots where it is too long.

    The end of a message says what was expected, so it is kept.
    """
    line = printable(" ".join(message.split()))
    return line if len(line) <= MAX_MESSAGE else f"{line[: MAX_MESSAGE // 2]} ... {line[-MAX_MESSAGE // 2 + 5 :]}"


def drawable(text: str) -> str:
    """The same with escapes also for what Matplotlib's font has no glyph for."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    font = get_font(findfont(FontProperties()))
    return "".join(c if font.get_char_index(ord(c)) else c.encode("unicode_escape").decode() for c in printable(text))


def column_names(experiment) -> list[str]:
    """The name of every column of the series: from its file, or else "feature" and its number."""
    D = experiment.x.shape[-1]
    return [printable(name) for name in experiment.columns or (f"feature {n + 1}" for n in range(D))]


def series_name(experiment) -> str:
    """The series and, where its file names them, its columns."""
    name = printable(experiment.name)
    if experiment.columns is None:
        return name
    names = column_names(experiment)
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return f"{name} ({'column' if len(names) == 1 else 'columns'} {', '.join(names[:MAX_NAMED])}{more})"


def shortened(name: str, width: int = MAX_WIDTH) -> str:
    """The name, its end replaced by dots where it has more than `width` characters."""
    return name if len(name) <= width else name[: width - 3] + "..."
