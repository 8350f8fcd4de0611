"""The printing that commands share: descriptions of runs, tables and progress."""

import sys

import numpy as np

from numpy_rnn.common.records import Run, Step
from numpy_rnn.common.texts import join_names, one_line


def describe_runs(names: list[str], series: str, runs: list[Run]) -> str:
    """Describe runs that differ in their schedules only, in one line: the names of
    what makes them, the name of the data, the sizes, and the options that are not off.
    """
    run = runs[0]
    params = run.params
    options = run.options
    biases = "no biases" if params.b_h is None else "biases"
    return (
        f"{join_names(names)}: {series}, T={len(run.x)} B={run.x.shape[1]}"
        f" D={params.W_xh.shape[-2]} H={params.W_hy.shape[-2]}"
        f" O={params.W_hy.shape[-1]}, {biases}, {params.W_hh.dtype},"
        f" {join_names(list(map(schedule_name, runs)))},"
        f" {', '.join(options.objective)}, {step_words(options.step)}"
    )


def schedule_name(run: Run) -> str:
    """Return the name of the schedule of a run, such as TBPTT(1, 5)."""
    return f"TBPTT({run.options.schedule.k1}, {run.options.schedule.k2})"


def step_words(step: Step) -> str:
    """Describe a step by its learning rate and its options that are not off."""
    words = []
    for name, value in step._asdict().items():
        if value is True:
            words.append(name)
        elif np.any(value):
            words.append(f"{name} {one_line(str(value))}")
    return ", ".join(words).replace("_", " ")


def progress(text: str) -> None:
    """Print what takes a while on standard error, if that is a terminal."""
    if sys.stderr is not None and sys.stderr.isatty():
        print(f"{text} ...", file=sys.stderr, flush=True)


def format_table(rows: list[list[str]]) -> list[str]:
    """Return the lines of a table, whose columns are as wide as their longest cell."""
    widths = [max(map(len, column)) + 3 for column in zip(*rows)]
    return ["".join(map(str.ljust, row, widths)).rstrip() for row in rows]
