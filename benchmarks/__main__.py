"""`python -m benchmarks`: checks agreement, then measures time and memory, then states the claims."""

import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks.cli import parse_options
from benchmarks.machine import Machine, forcing_variables, inspect
from benchmarks.store import FINDINGS, DifferentPlan, Store, open_store, write_json, write_text
from benchmarks.system import thread_environment

if TYPE_CHECKING:
    from benchmarks.summary import Findings

REQUIRED_PACKAGES = ("pyperf", "threadpoolctl")
UNFINISHED = "unfinished"  # folder in the output, until the run is complete


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_options(arguments)
    removed = forcing_variables(os.environ) if options.own_kernels else {}
    for name in removed:
        del os.environ[name]
    os.environ.update(thread_environment(1))  # before anything imports NumPy
    if missing := [package for package in REQUIRED_PACKAGES if find_spec(package) is None]:
        return _refuse(f'{missing[0]} is not installed: install the extra "benchmark"')
    if options.list:
        from benchmarks.cli import listing

        print(*listing(options), sep="\n")
        return 0
    if options.choice.is_empty():
        return _refuse("these options select nothing: expected rows, tasks and cases that --list prints")
    plan = {
        name: list(value) if isinstance(value, tuple) else value for name, value in options.choice._asdict().items()
    }
    with TemporaryDirectory() if options.output is None else nullcontext(options.output) as folder:
        unfinished, machine = Path(folder) / UNFINISHED, inspect(removed)
        try:
            store = open_store(unfinished.absolute(), plan | dict(machine.rows()))
        except DifferentPlan as reason:
            return _refuse(f"cannot resume from {unfinished}: {reason}; delete it, or give another --output")
        try:
            return benchmark(options, store, machine)
        except KeyboardInterrupt:
            kept = "nothing is kept without --output"
            if options.output is not None:
                kept = f"what is measured is kept in {options.output}: the same command resumes"
            print(f"python -m benchmarks: interrupted; {kept}", file=sys.stderr)
            return 130


def benchmark(options: Namespace, store: Store, machine: Machine) -> int:
    """Measures everything, prints the report and writes the output. Returns the exit status."""
    from benchmarks.runner import measure_all
    from benchmarks.summary import report, to_json

    findings, suite = measure_all(options, store, machine)
    if options.output is not None:
        findings = findings._replace(figures=_draw(findings, options.output))
        write_json(options.output / "results.json", suite | {FINDINGS: to_json(findings)}, indent=None)
        write_text(options.output / "README.md", report(findings))
        store.clear()
    print(report(findings), end="")
    return 1 if findings.failures or any(claim.holds is False for claim in findings.claims) else 0


def _draw(findings: "Findings", folder: Path) -> dict[str, str]:
    """The captions of the figures, by file; none without matplotlib."""
    if find_spec("matplotlib") is None:
        print("python -m benchmarks: no figures, as matplotlib is not installed", file=sys.stderr)
        return {}
    from benchmarks.charts import draw

    return draw(findings, folder)


def _refuse(reason):
    print(f"python -m benchmarks: {reason}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
