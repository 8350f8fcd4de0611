"""`python -m benchmarks`: first agreement, then time, then memory, then the claims."""

import sys
from importlib.util import find_spec
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from benchmarks import timing
from benchmarks.options import parse_options
from benchmarks.system import limited_threads, set_thread_variables, system_information

SEED = 0  # of the order of the rows and of the moved weights
AGAIN = "numpy_rnn again"  # the A/A row


def main(arguments=None) -> int:
    options = parse_options(arguments)
    set_thread_variables(options.threads)  # hence before anything imports NumPy
    if find_spec("torch") is None:
        print("python -m benchmarks: torch is not installed: it runs the tutorial program; install it", file=sys.stderr)
        return 2
    with limited_threads(options.threads):
        return benchmark(options)


def benchmark(options) -> int:
    from benchmarks import memory, report, suite
    from benchmarks.rows import ROWS, TUTORIAL, sine_case

    system = system_information()
    _print(f"{name:<8}{value}" for name, value in system.items())
    case = sine_case(options.dtype, options.epochs)

    _print(["", f"{options.dtype}, {options.epochs} epochs; loss curves against the tutorial program's:"])
    agreements = check_rows(case)
    _print(report.agreement_line(*item) for item in agreements.items())

    agreeing = {name: row for name, row in ROWS.items() if name == TUTORIAL or agreements[name].holds}
    if "numpy_rnn" in agreeing:
        agreeing[AGAIN] = agreeing["numpy_rnn"]
    measurements = {name: timing.stopwatch(row, case) for name, row in agreeing.items()}
    order = Random(SEED)
    runs = timing.interleaved(measurements, options.rounds, order)
    _print(["", f"training, {options.rounds} rounds; median [95 % interval of the median]"])
    _print(report.time_table(runs, case.points, TUTORIAL))
    if AGAIN in runs:
        _print([report.noise_line("numpy_rnn", runs[AGAIN], runs["numpy_rnn"])])

    imports = timing.import_seconds(("numpy", "numpy_rnn"), options.rounds, order)
    _print(["", *report.import_table(imports), ""])

    with TemporaryDirectory() as folder:
        cost = suite.suite_cost(options.epochs, Path(folder))
        peaks = memory.memory_peaks(options.steps, Path(folder))
    _print([*memory.memory_table(peaks), ""])
    claims = [report.speed_claim(runs, TUTORIAL), report.import_claim(imports), *suite.claims(cost)]
    claims += memory.memory_claims(peaks)
    _print(f"{'pass' if claim.holds else 'FAIL'}: {claim.text}" for claim in claims)
    if options.json:
        given = {name: value for name, value in vars(options).items() if name != "json"}
        results = {"agreements": agreements, "points": case.points, "run_seconds": runs, "import_seconds": imports}
        results |= {"suite": cost, "memory": peaks}
        report.write_json(options.json, {"system": system, "options": given, **results, "claims": claims})
    return 0 if all(check.holds for check in [*agreements.values(), *claims]) else 1


def check_rows(case):
    """The Agreement of every row but the tutorial's own, by name."""
    import numpy as np

    from benchmarks.agreement import agreement, rounding_bound
    from benchmarks.rows import ROWS, TUTORIAL

    reference = ROWS[TUTORIAL](case)
    bound = rounding_bound(case, reference, np.random.default_rng(SEED))
    return {name: agreement(row(case), reference, bound) for name, row in ROWS.items() if name != TUTORIAL}


def _print(lines):
    print(*lines, sep="\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
