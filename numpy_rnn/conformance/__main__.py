"""python -m numpy_rnn.conformance score | long: the score board of the mutants, and a million random updates.

    python -m numpy_rnn.conformance long --backend torch_rnn --updates 1000000

`long` makes runs of several updates in lockstep, so that updates start from parameters that training made. All are
checked at L1, and one run in ORACLE_EVERY also against the oracle, L2.
"""

import argparse
import itertools
import secrets
import sys
from typing import Any, NamedTuple

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.errors import exit_status
from numpy_rnn.common.files import check_can_write, save_json
from numpy_rnn.common.records import DTYPES
from numpy_rnn.conformance.mutants import score
from numpy_rnn.conformance.mutants.catalogue import MUTANTS
from numpy_rnn.conformance.plugin import seconds, whole
from numpy_rnn.conformance.ports.program import kill_programs_on_signal
from numpy_rnn.conformance.ports.protocol import PortFault
from numpy_rnn.conformance.random_cases import RandomDraw, random_run
from numpy_rnn.conformance.traces.divergence import CAUSAL_ORDER, EQUATIONS, Divergence
from numpy_rnn.conformance.traces.drive import is_bounded
from numpy_rnn.conformance.traces.judge import judge
from numpy_rnn.conformance.traces.sources import FileSource, Source, source

NAME = "numpy_rnn.conformance"
ORACLE_EVERY = 40
MAX_STEPS = 100  # steps of a series


class LongResult(NamedTuple):
    """The results of all runs of one implementation in one dtype."""

    name: str
    dtype: str
    updates: int
    oracle_updates: int
    local: dict[str, float]  # tensor: the worst ratio at level L1
    oracle: dict[str, float]  # the same at level L2
    diverging: int  # runs that diverge in every correct port too, and are not judged
    first: Divergence | None
    seed: tuple[int, int] | None  # of the run with the first divergence


def check_updates(source: Source, dtype: str, updates: int, seed: int) -> LongResult:
    """Judge runs until there are `updates` updates, or until one exceeds a bound."""
    counts, diverging = [0, 0], 0  # at level L1, and by the oracle
    worst: list[dict[str, float]] = [{}, {}]
    for number in itertools.count(1):
        run = random_run(RandomDraw(seed, number), dtype, source.abilities, MAX_STEPS)
        if not is_bounded(run):
            diverging += 1
            continue
        recorded = source.trace(run)
        judgements = [judge(recorded, source.tau)]
        if number % ORACLE_EVERY == 1:
            judgements.append(judge(recorded, source.tau, as_black_box=True))
        for level, judgement in enumerate(judgements):
            counts[level] += judgement.updates
            for name, ratio in judgement.worst.items():
                worst[level][name] = max(worst[level].get(name, 0.0), ratio)
        if sys.stderr.isatty():
            print(f"\r{counts[0]:,} of {updates:,} updates ", end="\r", file=sys.stderr, flush=True)
        first = next((judgement.first for judgement in judgements if judgement.first), None)
        if counts[0] >= updates or first is not None:
            break
    at = None if first is None else (seed, number)
    return LongResult(
        source.name, dtype, counts[0], counts[1], worst[0], worst[1], diverging, first, at
    )


def markdown(results: list[LongResult]) -> str:
    """The table of worst ratios: a row per tensor, a column per backend, dtype and level."""
    lines = [
        "| tensor | equation |"
        + "".join(f" {result.name} {result.dtype}, L1 | L2 |" for result in results)
    ]
    lines.append("|---|---|" + "---:|---:|" * len(results))
    for tensor in CAUSAL_ORDER[2:]:
        row = f"| {tensor} | {EQUATIONS[tensor]} |"
        for result in results:
            by_oracle = f"{result.oracle[tensor]:.3f}" if tensor in result.oracle else ""
            row += f" {result.local.get(tensor, 0.0):.3f} | {by_oracle} |"
        lines.append(row)
    counts = (f" {result.updates:,} | {result.oracle_updates:,} |" for result in results)
    return "\n".join([*lines, "| updates | |" + "".join(counts)])


def parser() -> argparse.ArgumentParser:
    """The options."""
    top = argparse.ArgumentParser(
        prog=f"python -m {NAME}", description="The equivalence suite, beyond pytest."
    )
    commands = top.add_subparsers(dest="command", required=True)
    board = commands.add_parser(
        "score", help="every mutant, the tensor and case that caught it, and the ratio"
    )
    board.add_argument(
        "--seed", type=whole(0), default=0, metavar="N", help="seed of the cases (0)"
    )
    long = commands.add_parser("long", help="check very many random updates of an implementation")
    add = long.add_argument
    add(
        "--backend",
        action="append",
        required=True,
        help="a package, module:object or a program; repeatable",
    )
    add(
        "--updates",
        type=whole(1),
        default=1_000_000,
        metavar="N",
        help="updates per backend and dtype (1000000)",
    )
    add("--dtype", choices=DTYPES, action="append", help="only this dtype; repeatable (both)")
    add("--seed", type=whole(0), metavar="N", help="seed of the runs (random, and printed)")
    add(
        "--port-timeout",
        type=seconds,
        default=10.0,
        metavar="SECONDS",
        help="time limit of one answer (10)",
    )
    add("--output", metavar="FILE", help="write the worst ratios as .json")
    for command in (board, long):
        command.add_argument(
            "--traceback", action="store_true", help="print the traceback of an unexpected error"
        )
    return top


def run_long(options: argparse.Namespace) -> int:
    """The command `long`. Returns 1 if a bound is exceeded."""
    if options.output is not None:
        check_can_write(options.output, "--output", (".json",))
    seed = secrets.randbelow(2**32) if options.seed is None else options.seed
    sources = [source(name, options.port_timeout) for name in options.backend]
    for each in sources:
        if isinstance(each, FileSource):
            raise InputError(
                f"--backend {each.name} is a trace file: expected a package, a Python port or a program"
            )
    print(f"seed {seed}", flush=True)
    results = []
    for each, dtype in itertools.product(sources, options.dtype or DTYPES):
        results.append(result := check_updates(each, dtype, options.updates, seed))
        outcome = "no bound exceeded" if result.first is None else "BOUND EXCEEDED"
        left_out = f"{result.diverging} diverging runs left out"
        print(f"{each.name} {dtype}: {result.updates:,} updates, {left_out}, {outcome}")
        if result.first is not None:
            print(f"run {result.seed}: {result.first.message(each.name)}")
    print(markdown(results))
    if options.output is not None:
        save_json(options.output, {"seed": seed, "results": results})
    return int(any(result.first is not None for result in results))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line. Returns the exit status, 1 if a mutant survives, a bound is exceeded, or a port fails."""
    options: Any = parser().parse_args(arguments)

    def work() -> int:
        with kill_programs_on_signal():
            try:
                if options.command == "long":
                    return run_long(options)
                pairs = [(mutant, level) for mutant in MUTANTS for level in score.levels(mutant)]
                scores = [score.score(*pair, options.seed) for pair in pairs]
                print(score.text(scores))
                return int(any(each.tensor is None for each in scores))
            except PortFault as fault:
                print(fault)
                return 1

    return exit_status(NAME, work)


if __name__ == "__main__":
    sys.exit(main())
