"""What is claimed of the times: each claim with its figure, and whether it holds.

A claim on a ratio, or on a time, holds where its whole interval does, and fails where none of it does; between the two
it is open. It fails too where what it speaks of was wanted and not timed, as where a row disagrees; and it is left out
where the options left out what it speaks of.
"""

from benchmarks.cases import MAIN_JOB
from benchmarks.exponents import exponent_claims
from benchmarks.figures import Claim, at_least, at_most, every, show, three_digits
from benchmarks.pieces import CALLS, GEMMS, IMPORT, MODULES, OURS, RUN, STEP, TUTORIAL, Key
from benchmarks.results import Times, Wants, differences, geometric_mean, ratio, seconds

MAIN = MAIN_JOB.name
TUTORIAL_ASKED = 15  # times faster than the tutorial loop, main job
CALLS_ASKED = 1.5  # times the summed cost of the bare NumPy calls, main job
MEAN_ASKED = 2.5  # times faster than torch.nn.RNN, geometric mean over the grid
ALL_CORES_ASKED = 0.9  # of torch.nn.RNN's speed, everywhere on the grid
GEMMS_ASKED = 0.85  # of the speed of bare GEMMs
LEAST_H, LEAST_B = 256, 32  # of the cases, in float32, of which that is asked
NETWORK_ASKED = 190  # ns a network and point
NETWORKS = 1000
IMPORT_ASKED = 30  # ms on top of NumPy


def time_claims(times: Times, wants: Wants) -> list[Claim]:
    claims: list[Claim | None] = [
        _against_tutorial(times, wants),
        _against_calls(times, wants),
        *(_everywhere(times, wants, threads) for threads in sorted({key.threads for key in wants.keys})),
        _share_of_gemms(times, wants),
        _ensemble(times, wants),
        *exponent_claims(times, wants),
        _imports(times, wants),
    ]
    return [claim for claim in claims if claim is not None]


def _against_tutorial(times, wants):
    if not _wanted_on_main_job(wants, TUTORIAL):
        return None
    found = ratio(times, Key(RUN, TUTORIAL, MAIN), Key(RUN, OURS, MAIN))
    if found is None:
        return Claim(f"main job: numpy_rnn was not timed against the tutorial loop (asked: {TUTORIAL_ASKED})", False)
    text = f"main job: numpy_rnn is {show(found)} times faster than the tutorial loop (asked: {TUTORIAL_ASKED})"
    return Claim(text, at_least(found, TUTORIAL_ASKED))


def _against_calls(times, wants):
    if not _wanted_on_main_job(wants, CALLS):
        return None
    found = ratio(times, Key(RUN, OURS, MAIN), Key(RUN, CALLS, MAIN))
    asked = f"(asked: {CALLS_ASKED} at most)"
    if found is None:
        return Claim(f"main job: numpy_rnn was not timed against the bare NumPy calls {asked}", False)
    text = f"main job: numpy_rnn takes {show(found)} times as long as the bare NumPy calls that its equations need"
    return Claim(f"{text} {asked}", at_most(found, CALLS_ASKED))


def _wanted_on_main_job(wants, row):
    return MAIN in [case.name for case in wants.both(RUN, OURS, row)]


def _everywhere(times, wants, threads):
    """A step of numpy_rnn against one of torch.nn.RNN, at every point of the grid."""
    cases = wants.both(STEP, OURS, MODULES, threads)
    if not cases:
        return None
    found = {case.name: _against(times, case, MODULES, threads) for case in cases}
    lost = [name for name, value in found.items() if value is None]
    where = f"gradient and update, {len(cases)} points, {threads} thread{'s' if threads > 1 else ''}: numpy_rnn"
    if lost:
        return Claim(f"{where} was not timed against {MODULES} at {lost[0]} (asked: everywhere)", False)
    asked = 1 if threads == 1 else ALL_CORES_ASKED
    worst, holds = _worst(found, asked)
    least = f"at least {show(found[worst])} times as fast as {MODULES}, at {worst}"
    if threads > 1:
        return Claim(f"{where} is {least} (asked: {asked})", holds)
    mean = geometric_mean(value.median for value in found.values())
    text = f"{where} is {least} (asked: {asked}), geometric mean {three_digits(mean)} (asked: {MEAN_ASKED})"
    return Claim(text, every([holds, mean >= MEAN_ASKED]))


def _worst(found, asked):
    """The name of the lowest estimate among those with the worst verdict on `asked` or more, and that verdict."""
    rank = {False: 0, None: 1, True: 2}
    verdicts = {name: at_least(value, asked) for name, value in found.items()}
    worst = min(found, key=lambda name: (rank[verdicts[name]], found[name].low))
    return worst, verdicts[worst]


def _against(times, case, other, threads=1):
    return ratio(times, Key(STEP, other, case.name, threads), Key(STEP, OURS, case.name, threads))


def _share_of_gemms(times, wants):
    cases = [case for case in wants.both(STEP, OURS, GEMMS) if case.H >= LEAST_H and case.B >= LEAST_B]
    cases = [case for case in cases if case.dtype == "float32"]
    if not cases:
        return None
    found = {case.name: _against(times, case, GEMMS) for case in cases}
    asked = f"(asked: {GEMMS_ASKED:.0%})"
    if None in found.values():
        return Claim(f"from H = 256, B = 32 on, numpy_rnn was not timed everywhere against {GEMMS} {asked}", False)
    worst, holds = _worst(found, GEMMS_ASKED)
    text = f"from H = 256, B = 32 on, in float32, numpy_rnn has at least {show(found[worst])} of the speed of {GEMMS}"
    return Claim(f"{text}, at {worst} {asked}", holds)


def _ensemble(times, wants):
    key = Key(RUN, OURS, f"{NETWORKS} networks")
    if key not in wants.keys:
        return None
    case = wants.cases[key.case]
    found = seconds(times, key, 1e9 / case.points / case.networks)
    if found is None:
        return Claim(f"an ensemble of {NETWORKS} networks was not timed (asked: {NETWORK_ASKED} ns)", False)
    text = f"an ensemble of {NETWORKS} takes {show(found)} ns a network and point (asked: {NETWORK_ASKED} at most)"
    return Claim(text, at_most(found, NETWORK_ASKED))


def _imports(times, wants):
    ours, numpy = (Key(IMPORT, module, "fresh process") for module in (OURS, "numpy"))
    if ours not in wants.keys:
        return None
    cost = differences(times, ours, numpy)
    if cost is None:
        return Claim(f"import numpy_rnn was not timed (asked: {IMPORT_ASKED} ms)", False)
    text = f"import numpy_rnn costs {show(cost)} ms more than import numpy (asked: {IMPORT_ASKED})"
    return Claim(text, at_most(cost, IMPORT_ASKED))
