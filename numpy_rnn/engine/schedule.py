"""How an epoch is divided: into segments, at whose ends an update is handed out, and into pieces of the series."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from numpy_rnn.common.windows import Window


class Piece(NamedTuple):
    """The steps [base, stop) of a series that are on the tape together."""

    base: int
    stop: int


class Segment:
    """The windows up to the next update that is handed out, by the pieces that they are in."""

    def __init__(self, number: int, parts: list[tuple[Piece, list[Window]]], due: bool = True, kept: bool = False):
        self.number, self.parts, self.due = number, parts, due  # due: an update is handed out at its end
        self.kept: dict[tuple[int, int], list[Any]] | None = {} if kept else None
        self.ready: tuple | None = None

    def views(self, block: int, part: int, tape: Any) -> list[Any]:
        """Of the windows of one part, on the tape of a block; made once if the segment is used in every epoch."""
        if self.kept is None:
            return [tape.window(window) for window in self.parts[part][1]]
        if (block, part) not in self.kept:
            self.kept[block, part] = [tape.window(window) for window in self.parts[part][1]]
        return self.kept[block, part]

    @property
    def window(self) -> Window:
        """The last one."""
        return self.parts[-1][1][-1]


def pieces(windows: Iterable[Window], steps: int, most: int) -> Iterator[tuple[Piece, list[Window]]]:
    """Consecutive windows by the pieces, of at most `steps` steps and `most` windows, that they are in."""
    held: list[Window] = []
    for window in windows:
        if held and (len(held) == most or window.stop - held[0].start > steps):
            yield Piece(held[0].start, held[-1].stop), held
            held = []
        held.append(window)
    if held:
        yield Piece(held[0].start, held[-1].stop), held


def segments(
    windows: Iterable[Window], done: int, every: int | None, steps: int, most: int, kept: bool = False
) -> Iterator[Segment]:
    """The segments of the rest of an epoch, after `done` updates; every: None for one segment."""
    number, parts = done, []
    for piece, of_piece in pieces(windows, steps, most):
        begin = 0
        while begin < len(of_piece):
            count = len(of_piece) - begin if every is None else min(every - number % every, len(of_piece) - begin)
            parts.append((piece, of_piece[begin : begin + count]))
            begin, number = begin + count, number + count
            if every is not None and number % every == 0:
                yield Segment(number, parts, kept=kept)
                parts = []
    if parts:
        yield Segment(number, parts, kept=kept)
