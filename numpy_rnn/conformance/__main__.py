"""python -m numpy_rnn.conformance score | long: the score board, and a million updates at random."""

import argparse
import sys
import time
from typing import NamedTuple

import numpy as np

from numpy_rnn.app.options import Parser, positive, whole_number
from numpy_rnn.app.storage import check_can_write
from numpy_rnn.app.terminal import exit_status, printing_anything
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import DTYPES
from numpy_rnn.conformance.comparison import source
from numpy_rnn.conformance.comparison_report import divergence_text
from numpy_rnn.conformance.mutants import score
from numpy_rnn.conformance.plain_json import save_json
from numpy_rnn.conformance.ports.program import kill_programs_on_signal
from numpy_rnn.conformance.ports.protocol import PortFault
from numpy_rnn.conformance.recipes import random_run
from numpy_rnn.conformance.traces.drive import is_bounded
from numpy_rnn.conformance.traces.judge import CAUSAL_ORDER, EQUATIONS, Divergence, judge

ORACLE_EVERY = 40
LONGEST = 100  # steps of a series


class Tally(NamedTuple):
    """What became of the runs in one dtype."""

    dtype: str
    updates: int
    oracle_updates: int
    local: dict[str, float]  # tensor: the worst ratio at level L1
    oracle: dict[str, float]  # the same at level L2
    wild: int  # runs that diverge in every right port too, and were not judged
    first: Divergence | None
    seed: tuple[int, int] | None  # of the run in which it was


def hold(source, dtype: str, updates: int, seed: int = 0, progress=None) -> Tally:
    """Judge runs of a `comparison.Source` until so many updates are done, or until one exceeds a bound."""
    done = oracle_done = wild = 0
    local: dict[str, float] = {}
    oracle: dict[str, float] = {}
    run = 0
    while done < updates:
        run += 1
        chosen = random_run(np.random.default_rng((seed, run)), dtype, LONGEST, source.lacks, source.has)
        if not is_bounded(*chosen):
            wild += 1
            continue
        trace = source.trace(*chosen)
        judgements = [(local, judge(trace, 2 * source.tanh_ulps))]
        done += judgements[0][1].updates
        if run % ORACLE_EVERY == 1:
            judgements.append((oracle, judge(trace, 2 * source.tanh_ulps, by_oracle=True)))
            oracle_done += judgements[1][1].updates
        for worst, judgement in judgements:
            for name, ratio in judgement.worst.items():
                worst[name] = max(worst.get(name, 0.0), ratio)
            if not judgement.passed:
                return Tally(dtype, done, oracle_done, local, oracle, wild, judgement.first, (seed, run))
        if progress is not None:
            progress(done)
    return Tally(dtype, done, oracle_done, local, oracle, wild, None, None)


def markdown(tallies: dict[str, list[Tally]]) -> str:
    """The table of worst ratios: a row a tensor, a column a backend, dtype and level."""
    columns = [(f"{name} {tally.dtype}", tally) for name, of in tallies.items() for tally in of]
    lines = ["| tensor | equation |" + "".join(f" {name}, L1 | L2 |" for name, _ in columns)]
    lines.append("|---|---|" + "---:|---:|" * len(columns))
    for tensor in CAUSAL_ORDER[2:]:
        cells = (f" {tally.local.get(tensor, 0):.3f} | {_known(tally.oracle.get(tensor))} |" for _, tally in columns)
        lines.append(f"| {tensor} | {EQUATIONS[tensor]} |" + "".join(cells))
    counts = (f" {tally.updates:,} | {tally.oracle_updates:,} |" for _, tally in columns)
    lines.append("| updates | |" + "".join(counts))
    return "\n".join(lines)


def _known(ratio):
    return "" if ratio is None else f"{ratio:.3f}"


class Progress:
    """A line on a terminal that says how far a run is; nothing in a pipe."""

    def __init__(self, what: str, total: int):
        self.what, self.total, self.begun, self.shown = what, total, time.monotonic(), 0.0

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        if not sys.stderr.isatty() or now - self.shown < 0.5:
            return
        self.shown = now
        left = (now - self.begun) * max(self.total - done, 0) / done
        print(
            f"\r{self.what}: {done:,} of {self.total:,} updates, {left:.0f} s left ",
            end="",
            file=sys.stderr,
            flush=True,
        )


PROGRAM = "python -m numpy_rnn.conformance"


def parser() -> argparse.ArgumentParser:
    """The options."""
    top = Parser(PROGRAM, description="The equivalence suite, beyond what pytest runs of it.")
    commands = top.add_subparsers(dest="command", required=True, metavar="{score,long}")
    board = commands.add_parser(
        "score", help="every known mistake, what caught it, after how many cases, by what factor"
    )
    board.add_argument("--seed", type=whole_number(0), default=0, metavar="N", help="of the cases (0)")
    long = commands.add_parser("long", help="hold a backend to its bounds for very many updates, at random")
    long.add_argument("--backend", action="append", required=True, metavar="PORT",
                      help="a package, module:object or a program; may be given again")  # fmt: skip
    long.add_argument("--updates", type=whole_number(1), default=1_000_000, metavar="N",
                      help="for every backend and dtype (1000000)")  # fmt: skip
    long.add_argument("--dtype", choices=DTYPES, action="append", help="only this one; may be given again (both)")
    long.add_argument("--seed", type=whole_number(0), metavar="N", help="of the runs (drawn, and printed)")
    long.add_argument("--port-timeout", type=positive, default=10.0, metavar="SECONDS",
                      help="for one answer of a port (10)")  # fmt: skip
    long.add_argument("--json", metavar="FILE", help="write the worst ratios as JSON too")
    return top


def run_long(arguments) -> int:
    """The command `long`. Returns 1 when a bound was exceeded or a port failed."""
    if arguments.json is not None:
        check_can_write(arguments.json, "--json")
    seed = arguments.seed if arguments.seed is not None else int(np.random.default_rng().integers(2**32))
    backends = [source(name, arguments.port_timeout) for name in arguments.backend]
    for name, backend in zip(arguments.backend, backends):
        if backend.start is not None:
            raise InputError(f"--backend {name} is a trace of one run: expected a package, a Python port or a program")
    print(f"seed {seed}", flush=True)
    tallies: dict = {}
    for backend in backends:
        for dtype in arguments.dtype or DTYPES:
            progress = Progress(f"{backend.name} {dtype}", arguments.updates)
            tally = hold(backend, dtype, arguments.updates, seed, progress)
            tallies.setdefault(backend.name, []).append(tally)
            outcome = "no bound exceeded" if tally.first is None else "EXCEEDED"
            print(f"{backend.name} {dtype}: {tally.updates:,} updates, {tally.wild} wild runs left out, {outcome}")
            if tally.first is not None:
                print(f"run {tally.seed}: {divergence_text(backend.name, tally.first)}")
    print(markdown(tallies))
    if arguments.json is not None:
        values = {name: [tally._asdict() for tally in of] for name, of in tallies.items()}
        save_json(arguments.json, {"seed": seed, "backends": values})
    return int(any(tally.first is not None for of in tallies.values() for tally in of))


def run_score(arguments) -> int:
    """The command `score`. Returns 1 when a mutant survived."""
    survived = False
    for title, board in (("", score.score_board), ("\nof the engine\n", score.engine_board)):
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

    0 when all went well; 1 when a mutant survived, a bound was exceeded, a port failed, or the reader of the output has
    gone; 2 when the input cannot be used or the output not be written; 130 after Ctrl-C.
    """
    with printing_anything():
        return exit_status("numpy_rnn.conformance", lambda: _run(arguments))


if __name__ == "__main__":
    sys.exit(main())
