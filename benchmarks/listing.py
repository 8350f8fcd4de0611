"""What there is to time: `--list`; and `python -m benchmarks.listing ROW...`, how rows are written, as JSON."""

import json
import sys

from benchmarks.pieces import AGAIN
from benchmarks.plan import ALL_ROWS, TASKS, Choice, wanted


def listing(options) -> list[str]:
    """Rows with how they are written or why they are absent, tasks, and the cases of the mode."""
    groups = wanted(Choice(options.full, options.rows, options.tasks, options.cases, tuple(options.threads)))
    cases: dict[str, set[str]] = {}
    for group in groups:
        for jobs in group.jobs.values():
            for job in jobs:
                cases.setdefault(job.case.name, set()).add(job.task)
    pieces = sum(len(group.jobs) for group in groups)
    return [
        "rows:",
        *(f"  {name:<16}{about}" for name, about in abouts(options.rows).items()),
        f"tasks: {', '.join(TASKS)}",
        "cases of this choice:",
        *(f"  {name:<26}{', '.join(sorted(tasks))}" for name, tasks in cases.items()),
        f"{pieces} processes a round, {options.rounds} rounds and one for agreement",
    ]


def abouts(rows=ALL_ROWS) -> dict[str, str]:
    """By name. Imports the packages of all rows."""
    from benchmarks.worker import load_row

    found = {}
    for name in rows:
        row = load_row(name)
        absent = row.absent()
        found[name] = f"absent: {absent}" if absent else "numpy_rnn, as another row" if name == AGAIN else row.about
    return found


if __name__ == "__main__":
    print(json.dumps(abouts(sys.argv[1:])))
