"""`python -m benchmarks`: first agreement, then time, then memory, then the claims."""

import os
import sys
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.cli import parse_options
from benchmarks.plan import nothing_wanted
from benchmarks.store import OtherPlan, open_store
from benchmarks.system import system_information, thread_environment

NEEDED = ("pyperf", "threadpoolctl")
PIECES = "unfinished"  # folder in the output, until all is done


def main(arguments=None) -> int:
    options = parse_options(arguments)
    os.environ.update(thread_environment(1))  # hence before anything imports NumPy
    if missing := [package for package in NEEDED if find_spec(package) is None]:
        return _refused(f'{missing[0]} is not installed: install the extra "benchmark"')
    if options.list:
        from benchmarks.cli import listing

        print(*listing(options), sep="\n")
        return 0
    if nothing_wanted(options):
        return _refused("these options leave nothing to measure: expected rows, tasks and cases that --list names")
    plan = {name: getattr(options, name) for name in ("full", "rows", "tasks", "cases", "threads")}
    plan = {name: list(value) if isinstance(value, tuple) else value for name, value in plan.items()}
    with TemporaryDirectory() if options.output is None else nullcontext(options.output) as folder:
        try:
            store = open_store(Path(folder).absolute() / PIECES, plan | system_information())
        except OtherPlan as reason:
            unfinished = Path(folder) / PIECES
            return _refused(f"cannot go on from {unfinished}: {reason}; delete it, or give another --output")
        try:
            return benchmark(options, store)
        except KeyboardInterrupt:
            kept = "nothing is kept, as no --output was given"
            if options.output is not None:
                kept = f"what is measured is kept in {options.output}: the same command goes on from there"
            print(f"python -m benchmarks: interrupted; {kept}", file=sys.stderr)
            return 130


def benchmark(options, store) -> int:
    from benchmarks.runner import find
    from benchmarks.summary import report

    found, suite = find(options, store)
    if options.output is not None:
        from benchmarks.store import write_json, write_text

        found = found._replace(figures=_drawn(found, options.output))
        write_json(options.output / "results.json", suite, indent=None)
        write_text(options.output / "README.md", report(found))
        store.clear()
    print(report(found), end="")
    return 1 if found.wrong or any(claim.holds is False for claim in found.claims) else 0


def _drawn(found, folder):
    """The captions of the figures, by file; none without matplotlib."""
    if find_spec("matplotlib") is None:
        print("python -m benchmarks: no figures, as matplotlib is not installed", file=sys.stderr)
        return {}
    from benchmarks.charts import draw

    return draw(found, folder)


def _refused(reason):
    print(f"python -m benchmarks: {reason}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
