"""The figures of a report, as PNG. One idea a figure; a row has one colour in all of them, and its name beside it."""

from pathlib import Path

from benchmarks.cases import Case
from benchmarks.claims import GEMMS_ASKED
from benchmarks.pieces import CALLS, EVERY, GEMMS, MODULES, OURS, ROWS, STEP, Key
from benchmarks.plot_operations import draw_operations
from benchmarks.plot_panels import mark_sizes, name_ends, panels_of
from benchmarks.ratio_maps import draw_maps
from benchmarks.results import Times, seconds

TIMED_IN_STEPS = [row for row in ROWS if row != EVERY]
COLOURS = dict(
    zip(
        TIMED_IN_STEPS,
        ("#0072b2", "#a65628", "#56b4e9", "#d55e00", "#999999", "#cc79a7", "#009e73", "#e69f00", "#000000"),
    )
)
FLOOR_COLOUR = "#666666"
STEPS = 50  # T of the cases that are drawn
PRODUCTS = 3  # of a step, of B·H² multiplications and additions each: forward, back through W_hh, and dW_hh


def draw(found, folder: Path) -> dict[str, str]:
    """Draws what there are times for. Returns the captions, by file."""
    import matplotlib

    matplotlib.use("Agg")
    cases = [case for case in found.wants.cases.values() if case.k2 is None and case.dtype == "float32" and case.D == 1]
    captions = {}
    for name, caption, figure in (
        ("time.png", _TIME, draw_time(found.times, cases)),
        ("ratios.png", _RATIOS, draw_maps(found.times, cases)),
        ("gemms.png", _SHARE, draw_shares(found.times, cases)),
        ("operations.png", _OPERATIONS, draw_operations(found.profiles)),
    ):
        if figure is not None:
            figure.savefig(folder / name, dpi=110)
            captions[name] = caption
    return captions


_TIME = """Time of a gradient and update against H, T = 50, float32. Two floors: what the bare NumPy calls of the \
equations cost, and what the products alone would take at the best speed of bare GEMMs in this run"""
_RATIOS = """How long other rows take beside numpy_rnn, T = 50, float32, gradient and update. Left torch.nn.RNN, right \
the fastest of the other ways, with its name. Across the thick line the winner changes"""
_SHARE = """Share of the speed of bare GEMMs of the same shapes that a gradient and update reaches, T = 50, float32"""
_OPERATIONS = """Where the time of numpy_rnn goes, by equation of DERIVATION.md; "no equation" is the rest: views, \
loops, checks, records"""


def draw_time(times: Times, cases: list[Case]):
    """Log-log, a panel a batch size."""
    batches, peak = batches_of(cases), best_speed(times, cases)
    if not batches:
        return None
    figure, panels = panels_of(len(batches), "time of a step, seconds")
    ends = []
    for axes, (B, group) in zip(panels, batches.items()):
        sizes = [case.H for case in group]
        for row in (*TIMED_IN_STEPS, CALLS):
            found = points(times, row, group)
            if found:
                style = {"color": COLOURS[row]} if row in COLOURS else {"color": FLOOR_COLOUR, "linestyle": "--"}
                axes.plot(*zip(*found), marker="." if row in COLOURS else "", **style)
                ends.append((axes, found[-1], row, style["color"]))
        if peak:
            flops = [(H, 2 * PRODUCTS * B * H * H * STEPS / peak) for H in sizes]
            axes.plot(*zip(*flops), color=FLOOR_COLOUR, linestyle=":")
            ends.append((axes, flops[-1], "flops", FLOOR_COLOUR))
        axes.set(xscale="log", yscale="log", title=f"B = {B}", xlabel="hidden units H")
        mark_sizes(axes, sizes)
    name_ends(figure, ends)
    return figure


def draw_shares(times: Times, cases: list[Case]):
    """The roofline: a line a batch size, for numpy_rnn and torch.nn.RNN."""
    batches = {B: group for B, group in batches_of(cases).items() if points(times, GEMMS, group)}
    if not batches:
        return None
    figure, panels = panels_of(len(batches), "share of the speed of bare GEMMs")
    ends = []
    for axes, (B, group) in zip(panels, batches.items()):
        bare = dict(points(times, GEMMS, group))
        for row in (OURS, MODULES):
            found = [(H, bare[H] / time) for H, time in points(times, row, group) if H in bare]
            if found:
                axes.plot(*zip(*found), marker=".", color=COLOURS[row])
                ends.append((axes, found[-1], row, COLOURS[row]))
        axes.axhline(GEMMS_ASKED, color=FLOOR_COLOUR, linestyle=":", linewidth=1)
        axes.set(xscale="log", ylim=(0, 1.1), title=f"B = {B}", xlabel="hidden units H")
        mark_sizes(axes, sorted(bare))
    name_ends(figure, ends)
    return figure


def batches_of(cases: list[Case]) -> dict[int, list[Case]]:
    """The cases of STEPS steps by batch size, in the order of H; batch sizes with one H only show nothing."""
    found: dict[int, list[Case]] = {}
    for case in sorted((case for case in cases if case.T == STEPS), key=lambda case: (case.B, case.H)):
        found.setdefault(case.B, []).append(case)
    return {B: group for B, group in found.items() if len(group) > 1}


def points(times: Times, row: str, cases: list[Case]) -> list[tuple[int, float]]:
    """(H, median seconds of a step) of the cases that were timed."""
    found = [(case.H, seconds(times, Key(STEP, row, case.name))) for case in cases]
    return [(H, value.median) for H, value in found if value is not None]


def best_speed(times: Times, cases: list[Case]) -> float:
    """Flops a second of the bare GEMMs where they were fastest; 0 where they were not timed."""
    speeds = [
        2 * PRODUCTS * case.T * case.B * case.H**2 / time for case in cases for _, time in points(times, GEMMS, [case])
    ]
    return max(speeds, default=0.0)
