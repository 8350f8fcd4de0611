"""The report of an audited loop: its findings, and assertions for tests."""

import textwrap
from collections.abc import Collection
from dataclasses import dataclass

from numpy_rnn.common.numbers import check_choice
from numpy_rnn.common.texts import pluralize
from torch_rnn.loop_audit import mistakes, questions, values
from torch_rnn.loop_audit.description import describe_loop
from torch_rnn.loop_audit.differences import Difference, differences
from torch_rnn.loop_audit.events import LoopRecord, LoopUpdate
from torch_rnn.loop_audit.expectation import read_expectation
from torch_rnn.loop_audit.findings import FINDINGS, found_in
from torch_rnn.loop_audit.loop import TrainingLoop
from torch_rnn.loop_audit.sentences import loop_sentences, unseen_in

MODULES = (mistakes, values, questions)  # which add to FINDINGS
MAX_PLACES = 3  # of one finding, in a report
WRAPPER = textwrap.TextWrapper(100, subsequent_indent=" " * 4, break_on_hyphens=False)


@dataclass(frozen=True)
class LoopFinding:
    """What was found: its name, FILE:LINE of the call, and the message."""

    name: str
    location: str
    message: str


class LoopReport:
    """The facts and findings of a training loop, complete when the audit has ended.

    Parameters
    ----------
    record
        The events of the loop.
    ignore
        Names of warnings and questions that are switched off.
    expect
        What the loop is meant to be, if anything is said of it.
    """

    def __init__(
        self,
        record: LoopRecord,
        ignore: Collection[str] = (),
        expect: str | None = None,
    ) -> None:
        """Refuse names to ignore that no finding has, and unknown parts."""
        for name in ignore:
            check_choice("warning", name, tuple(FINDINGS))
        self.expectation = None if expect is None else read_expectation(expect)
        self._record = record
        self._ignored = frozenset(ignore)

    @property
    def loop(self) -> TrainingLoop:
        """The events, updates and windows of the loop, up to now."""
        return TrainingLoop(self._record)

    @property
    def error(self) -> str:
        """Why the audit has ended early; empty if it has not."""
        return self._record.error

    @property
    def updates(self) -> list[list[LoopUpdate]]:
        """The updates: of each the steps of optimizers that are made together, or the
        one by hand.
        """
        return self.loop.groups

    @property
    def warnings(self) -> list[LoopFinding]:
        """What is sure to be a mistake, without what is switched off."""
        return self._found(self.loop, False)

    @property
    def questions(self) -> list[LoopFinding]:
        """What may be meant, without what is switched off."""
        return self._found(self.loop, True)

    @property
    def description(self) -> str:
        """The line that describes the loop, and satisfies `expect`."""
        return describe_loop(self.loop)

    @property
    def differences(self) -> list[Difference]:
        """The parts in which the loop differs from what is expected."""
        return self._differences(self.loop)

    def _differences(self, loop: TrainingLoop) -> list[Difference]:
        """Return the differences of a loop."""
        if self.expectation is None:
            return []
        return differences(loop, self.expectation)

    @property
    def is_as_expected(self) -> bool:
        """Whether no part differs and there is no warning; True without `expect`."""
        if self.expectation is None:
            return True
        return not (self.differences or self.warnings or self.error)

    def _found(self, loop: TrainingLoop, is_question: bool) -> list[LoopFinding]:
        """Return the warnings or the questions of a loop."""
        found = []
        for name, finding in FINDINGS.items():
            if name in self._ignored or finding.is_question is not is_question:
                continue
            for location in found_in(loop, name):
                found.append(LoopFinding(name, location, finding.message))
        return found

    def assert_tbptt(self, k1: int, k2: int) -> None:
        """Check that each recurrent module is trained by TBPTT(k1, k2), with a state
        that is carried from window to window and cut.

        Raises
        ------
        AssertionError
            If a module is trained in another way, or no module is. It has the report.
        """
        found = differences(self.loop, read_expectation(f"TBPTT({k1}, {k2}), carried"))
        if found:
            raise AssertionError("\n".join([*map(str, found), str(self)]))

    def __str__(self) -> str:
        """Return the report as text."""
        loop = self.loop
        lines = list(loop_sentences(loop))
        for is_question, word in ((False, "Warning"), (True, "Question")):
            places: dict[str, list[LoopFinding]] = {}
            for found in self._found(loop, is_question):
                places.setdefault(found.name, []).append(found)
            for name, (first, *others) in places.items():
                text = f"{word}: {first.location}: {first.message} [{name}]"
                more = [found.location for found in others[:MAX_PLACES]]
                lines.append(f"{text}. Also {', '.join(more)}" if more else text)
        lines.append(self._looked_for(loop))
        if self.error:
            lines.append(f"The audit ended early: {self.error}")
        # the last lines are to be copied: they are not wrapped
        return "\n".join([*map(WRAPPER.fill, lines), *self._verdict(loop)])

    __repr__ = __str__  # a failing assertion on a report shows it whole

    def _looked_for(self, loop: TrainingLoop) -> str:
        """Return the sentence on what was looked at, and what was not."""
        count = sum(
            name not in self._ignored and loop.is_seen[finding.needs]
            for name, finding in FINDINGS.items()
        )
        found = [len({f.name for f in self._found(loop, q)}) for q in (False, True)]
        text = f"{pluralize(found[0], 'warning')} and {pluralize(found[1], 'question')}"
        text += f" of {count} that were looked for."
        unseen = loop.record.unseen.union(unseen_in(loop))
        unseen.update(f"{name} (switched off)" for name in self._ignored)
        if unseen:
            text += f" Not looked at: {', '.join(sorted(unseen))}."
        return text

    def _verdict(self, loop: TrainingLoop) -> list[str]:
        """Return the last lines: the differences from what is expected, or the line
        that describes the loop.
        """
        description = describe_loop(loop) or "nothing that a line can describe"
        if self.expectation is None:
            return [f"This loop is: {description}"]
        found = self._differences(loop)
        if found:
            lines = [f"Not as expected: {difference}" for difference in found]
            return [*lines, f"This loop is: {description}"]
        if not self.is_as_expected:
            return ["Not as expected: there is a warning, or the audit ended early"]
        return [f"As expected: {self.expectation.text}"]
