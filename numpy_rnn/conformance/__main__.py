"""python -m numpy_rnn.conformance score | long: the score board of the mutants, and a million random updates.

    python -m numpy_rnn.conformance long --backend torch_rnn --updates 1000000

`long` makes runs of several updates in lockstep, so that updates start from parameters that training made. All are
checked at L1, and one run in ORACLE_EVERY also against the oracle, L2.
"""

import argparse
import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from numpy_rnn.app.options import Parser, positive, whole_number
from numpy_rnn.app.storage import check_can_write, save_json
from numpy_rnn.app.terminal import exit_status, printing_anything, progress
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import DTYPES
from numpy_rnn.conformance.comparison import source
from numpy_rnn.conformance.comparison_report import divergence_text
from numpy_rnn.conformance.mutants import score
from numpy_rnn.conformance.ports.program import kill_programs_on_signal
from numpy_rnn.conformance.ports.protocol import PortFault
from numpy_rnn.conformance.recipes import random_run
from numpy_rnn.conformance.traces.drive import is_bounded
from numpy_rnn.conformance.traces.judge import CAUSAL_ORDER, EQUATIONS, Divergence, judge

ORACLE_EVERY = 40
MAX_STEPS = 100  # steps of a series


class LongResult(NamedTuple):
    """The results of all runs in one dtype."""

    dtype: str
    updates: int
    oracle_updates: int
    local: dict[str, float]  # tensor: the worst ratio at level L1
    oracle: dict[str, float]  # the same at level L2
    diverging: int  # runs that diverge in every correct port too, and are not judged
    first: Divergence | None
    seed: tuple[int, int] | None  # of the run with the first divergence


def check_updates(
    source, dtype: str, updates: int, seed: int = 0, advance: Callable[[int], object] | None = None
) -> LongResult:
    """Judge runs of a `comparison.Source` until there are `updates` updates, or until one exceeds a bound.

    advance: called after every run with the number of its updates.
    """
    count = oracle_count = diverging = 0
    local: dict[str, float] = {}
    oracle: dict[str, float] = {}
    run = 0
    while count < updates:
        run += 1
        chosen = random_run(np.random.default_rng((seed, run)), dtype, MAX_STEPS, source.lacks, source.has)
        if not is_bounded(*chosen):
            diverging += 1
            continue
        trace = source.trace(*chosen)
        judgements = [(local, judge(trace, source.tau))]
        count += judgements[0][1].updates
        if run % ORACLE_EVERY == 1:
            judgements.append((oracle, judge(trace, source.tau, by_oracle=True)))
            oracle_count += judgements[1][1].updates
        for worst, judgement in judgements:
            for name, ratio in judgement.worst.items():
                worst[name] = max(worst.get(name, 0.0), ratio)
            if not judgement.passed:
                return LongResult(dtype, count, oracle_count, local, oracle, diverging, judgement.first, (seed, run))
        if advance is not None:
            advance(judgements[0][1].updates)
    return LongResult(dtype, count, oracle_count, local, oracle, diverging, None, None)


def markdown(results: dict[str, list[LongResult]]) -> str:
    """The table of worst ratios: a row per tensor, a column per backend, dtype and level."""
    columns = [(f"{name} {result.dtype}", result) for name, of in results.items() for result in of]
    lines = ["| tensor | equation |" + "".join(f" {name}, L1 | L2 |" for name, _ in columns)]
    lines.append("|---|---|" + "---:|---:|" * len(columns))
    for tensor in CAUSAL_ORDER[2:]:
        cells = (f" {result.local.get(tensor, 0):.3f} | {_known(result.oracle.get(tensor))} |" for _, result in columns)
        lines.append(f"| {tensor} | {EQUATIONS[tensor]} |" + "".join(cells))
    counts = (f" {result.updates:,} | {result.oracle_updates:,} |" for _, result in columns)
    lines.append("| updates | |" + "".join(counts))
    return "\n".join(lines)


def _known(ratio):
    return "" if ratio is None else f"{ratio:.3f}"


PROGRAM = "python -m numpy_rnn.conformance"


def parser() -> argparse.ArgumentParser:
    """The options."""
    top = Parser(PROGRAM, description="The equivalence suite, beyond its pytest tests.")
    commands = top.add_subparsers(dest="command", required=True, metavar="{score,long}")
    board = commands.add_parser(
        "score", help="the score board: every mutant, the tensor and case that caught it, and the ratio"
    )
    board.add_argument("--seed", type=whole_number(0), default=0, metavar="N", help="seed of the cases (0)")
    long = commands.add_parser("long", help="check very many random updates of an implementation")
    long.add_argument("--backend", action="append", required=True, metavar="PORT",
                      help="a package, module:object or a program; repeatable")  # fmt: skip
    long.add_argument("--updates", type=whole_number(1), default=1_000_000, metavar="N",
                      help="updates per backend and dtype (1000000)")  # fmt: skip
    long.add_argument("--dtype", choices=DTYPES, action="append", help="only this dtype; repeatable (both)")
    long.add_argument("--seed", type=whole_number(0), metavar="N", help="seed of the runs (random, and printed)")
    long.add_argument("--port-timeout", type=positive, default=10.0, metavar="SECONDS",
                      help="time limit of one answer of a port (10)")  # fmt: skip
    long.add_argument("--json", metavar="FILE", help="write the worst ratios as JSON")
    return top


def run_long(arguments) -> int:
    """The command `long`. Returns 1 if a bound is exceeded or a port fails."""
    if arguments.json is not None:
        check_can_write(arguments.json, "--json")
    seed = arguments.seed if arguments.seed is not None else int(np.random.default_rng().integers(2**32))
    backends = [source(name, arguments.port_timeout) for name in arguments.backend]
    for name, backend in zip(arguments.backend, backends):
        if backend.start is not None:
            raise InputError(f"--backend {name} is a trace file: expected a package, a Python port or a program")
    print(f"seed {seed}", flush=True)
    results: dict = {}
    for backend in backends:
        for dtype in arguments.dtype or DTYPES:
            with progress(f"{backend.name} {dtype}", arguments.updates, "updates") as bar:
                result = check_updates(backend, dtype, arguments.updates, seed, bar.advance)
            results.setdefault(backend.name, []).append(result)
            outcome = "no bound exceeded" if result.first is None else "BOUND EXCEEDED"
            left_out = f"{result.diverging} diverging runs left out"
            print(f"{backend.name} {dtype}: {result.updates:,} updates, {left_out}, {outcome}")
            if result.first is not None:
                print(f"run {result.seed}: {divergence_text(backend.name, result.first)}")
    print(markdown(results))
    if arguments.json is not None:
        values = {name: [result._asdict() for result in of] for name, of in results.items()}
        save_json(arguments.json, {"seed": seed, "backends": values})
    return int(any(result.first is not None for of in results.values() for result in of))


def run_score(arguments) -> int:
    """The command `score`. Returns 1 if a mutant survives."""
    survived = False
    for title, board in (("", score.score_board), ("\nmutants of the engine\n", score.engine_board)):
        scores = board(arguments.seed)
        print(title + score.text(scores))
        survived |= any(each.tensor is None for each in scores)
    return int(survived)


def _run(arguments):
    parsed = parser().parse_args(arguments)
    try:
        with kill_programs_on_signal():
            return (run_long if parsed.command == "long" else run_score)(parsed)
    except PortFault as fault:
        print(fault)
        return 1


def main(arguments=None) -> int:
    """Run the command line. Returns the exit status.

    0: success. 1: a mutant survived, a bound is exceeded, a port failed, or the output pipe is closed. 2: invalid
    input, or a file cannot be written. 130: interrupted by Ctrl-C.
    """
    with printing_anything():
        return exit_status("numpy_rnn.conformance", lambda: _run(arguments))


if __name__ == "__main__":
    sys.exit(main())
