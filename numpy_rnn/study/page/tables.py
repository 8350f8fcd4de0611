"""The tables of the checks."""

from numpy_rnn.app.format import format_scientific
from numpy_rnn.study.checks.equations import STEP, TRUNCATION, WINDOW
from numpy_rnn.study.components.matrix import mask
from numpy_rnn.study.components.measures import few
from numpy_rnn.study.components.seeds import SHARES
from numpy_rnn.study.setting import Findings, Table

UNITS = "ulps and, in brackets, in units of the derived bound E"


def check_tables(findings: Findings) -> tuple[Table, ...]:
    """Two of differences, as a window has other witnesses than truncation and step; and the options of the steps."""
    return (
        _table(
            findings, "differences", WINDOW, f"Largest differences from the hand-derived value, in {UNITS}: a window"
        ),
        _table(
            findings,
            "differences_steps",
            (*TRUNCATION, *STEP),
            f"Largest differences from the hand-derived value, in {UNITS}: truncation and step",
        ),
        _options(findings["checks"]["options"]),
    )


def _table(findings, name, ids, caption):
    equations = findings["checks"]["equations"]
    by_witness = {id: {check["witness"]: check for check in equations[id]["checks"]} for id in ids}
    witnesses = [one for one in findings["checks"]["witnesses"] if any(one in checks for checks in by_witness.values())]
    rows = [
        [
            f"({id})",
            equations[id]["quantity"],
            equations[id]["what"],
            *(_cell(by_witness[id].get(one)) for one in witnesses),
        ]
        for id in ids
    ]
    return Table(name, caption, ["", "quantity", "what", *witnesses], rows)


def _options(sets):
    rows = [
        [
            one["name"],
            f"{one['momentum']:g}",
            f"{one['dampening']:g}",
            "yes" if one["nesterov"] else "no",
            f"{one['weight_decay']:g}",
            "no clipping" if one["max_norm"] is None else f"{one['max_norm']:.3g}",
        ]
        for one in sets
    ]
    head = ["options", "momentum μ", "dampening τ", "Nesterov", "weight decay λ", "clipped to c"]
    return Table("step_options", "Options of the updates on which (U1) to (U6) are checked", head, rows)


def _cell(check):
    if check is None:
        return ""
    if check["difference"] == 0:
        return "equal"
    bounds = "none allowed" if check["bounds"] is None else format_scientific(check["bounds"])
    return f"{format_scientific(check['ulps'], 2)} ({bounds})"


ENDS = {"start": "before training", "end": "after training"}


def component_tables(findings: Findings) -> tuple[Table, ...]:
    """Checks of the components, cost of truncation at a few k, reach of the losses, and the starting points."""
    result = findings["components"]
    return _checks(result), _costs(result), _reach(result), _starts(result)


def _checks(result):
    rows = [
        [
            name,
            f"{result['check'][end]['components']}",
            f"{result['check'][end]['elements']:,} of {result['check'][end]['of']:,}",
            number(result["check"][end]["difference"], ".1e"),
            f"{result['sums'][end]['truncations']}",
            number(result["sums"][end]["difference"], ".1e"),
        ]
        for end, name in ENDS.items()
    ]
    head = [
        "weights",
        "components",
        "elements by complex step",
        "largest difference",
        "truncations",
        "largest difference",
    ]
    caption = (
        "Left: every component compared with its complex step. Right: for every truncation, the masked sum of the"
        " components compared with the gradients of `bptt`, summed over the updates of an epoch. Differences are"
        " relative to the largest element of the component, or of the sum; double precision has a spacing of 2.2e-16."
    )
    return Table("components_check", caption, head, rows)


def _costs(result):
    T, along, rows = result["steps"], result["seeds"]["along"], []
    for k in few(T):
        row = [f"{k}", f"{int(mask(T, k, k).sum())}", f"{int(mask(T, 1, k).sum())}"]
        for index, of in ((0, "all"), (-1, "all"), (-1, "W_hh")):
            for kind in ("chunks", "sliding"):
                row.append(_band(along[index]["cost"][of][kind]["cosine"], ".3f", k - 1))
        for kind in ("chunks", "sliding"):
            own = number(result["truncation"]["end"]["all"][kind]["cosine"][k - 1], ".3f")
            lower = result["seeds"]["place"]["end"][kind]
            row.append(f"{own} ({lower[k - 1] if lower else '–'})")
        rows.append(row)
    head = ["k", "components of chunks", "of sliding"]
    for when in ("before:", "after:", "after, W_hh alone:", "after, this network:"):
        head += [f"{when} chunks", f"{when} sliding"]
    caption = (
        f"Cosine with the full gradient, before and after training: median of {result['seeds']['networks']} networks"
        " and, in parentheses, 10th and 90th percentile. The components of W_hy are never cut; truncation acts on W_hh."
        " The last columns have the network of this run and, in parentheses, the number of networks with a lower"
        " cosine."
    )
    return Table("truncation_cost", caption, head, rows)


def _reach(result):
    along, rows = result["seeds"]["along"], []
    for (end, name), index in zip(ENDS.items(), (0, -1)):
        bands = [_band(along[index]["reach"], ".1f", place) for place in range(len(SHARES))]
        rows += [[name, *bands], [f"{name}, this network", *(f"{result['reach'][end][share]:.1f}" for share in SHARES)]]
    caption = (
        "Number of steps, counted back from the loss and including its own, that have this share of the norms of a row"
        f" of the component matrix, as a mean over the {result['steps']} rows: median of"
        f" {result['seeds']['networks']} networks (10th and 90th percentile)."
    )
    return Table("reach", caption, ["weights", *(f"{share} %" for share in SHARES)], rows)


def _starts(result):
    own = {of["name"]: of for of in (*result["jacobians"], result["trained"])}
    columns = {"spectral_radius": ".2f", "slope": ".2f", "saturated": ".0%", "at_longest": ".1e", "a_step": ".2f"}
    rows = []
    for name, of in result["seeds"]["starts"].items():
        rows.append([name, *(_band(of[key], form) for key, form in columns.items()), "–"])
        if name in own:  # a network whose W_hh has no eigenvalue but 0 is not scaled
            cells = (number(own[name][key], form) for key, form in (columns | {"difference": ".1e"}).items())
            rows.append([f"{name}, this network", *cells])
    head = [
        "networks",
        "spectral radius of W_hh",
        "mean slope",
        "saturated units",
        f"largest singular value over {result['steps']} steps",
        "growth per step",
        "largest difference from complex step",
    ]
    caption = (
        f"The three starting points, and the end of training: median of {result['seeds']['networks']} networks (10th"
        " and 90th percentile), and the network of this run. The growth per step is the geometric mean; the difference"
        " is relative to the largest element of the Jacobian."
    )
    return Table("starts", caption, head, rows)


def _band(band, form, index=None):
    """Median (10th, 90th percentile) of a number, or of one in a list."""
    median, low, high = (
        number(band[name] if index is None else band[name][index], form) for name in ("median", "low", "high")
    )
    return f"{median} ({low}, {high})"


def number(value, form: str) -> str:
    """The number in this format; a dash for None."""
    return "–" if value is None else format(value, form)


def training_tables(findings: Findings) -> tuple[Table, ...]:
    """Final losses by k, and the disagreements."""
    training = findings["training"]
    return _by_k(training["by_k"]), _disagreements(training["disagreements"])


def _by_k(by_k):
    rows = [
        [f"({run['k1']}, {run['k2']})", *_final_band(run), str(run["diverged"])]
        for run in by_k["sliding"] + [run for run in by_k["chunks"] if run["k"] > 1]
    ]
    caption = f"Loss of a pass after training, of {by_k['seeds']} networks each."
    return Table("by_k", caption, ["(k₁, k₂)", "median", "10 %", "90 %", "diverged"], rows)


def _final_band(run):
    return [_number(run[name][-1]) for name in ("median", "low", "high")]


def _disagreements(result):
    rows = [
        [
            one["name"],
            one["formula"],
            one["who"],
            one["run"],
            _first(one["steps"]),
            _along(one["steps"]["of_step"]),
            _ratio(one["ratio"]),
            one["verdict"],
            str(one["wrong"]["diverged"]),
        ]
        for one in result
    ]
    head = [
        "variant",
        "what is computed",
        "used by",
        "run",
        "first step that differs, and by how much, relative to its length",
        "difference of the steps of an epoch, at the start and at the end of training",
        "final loss over the definition's: median (10 %, 90 %)",
        "verdict",
        "diverged",
    ]
    return Table("disagreements", "Where implementations disagree, and the effect on training.", head, rows)


def _first(steps):
    if steps["first_update"] is None:
        return "other updates" if steps["by_update"] is None else "none"
    return f"update {steps['first_update']}: {steps['first_difference']:.2g}"


def _along(of_step):
    return "–" if of_step is None else f"{_number(of_step[0])} → {_number(of_step[-1])}"


def _ratio(ratio):
    return f"{_number(ratio['median'])} ({_number(ratio['low'])}, {_number(ratio['high'])})"


def _number(value):
    return "diverged" if value is None else f"{value:.2g}"
