"""The tables of the checks."""

from numpy_rnn.study.checks.equations import STEP, TRUNCATION, WINDOW
from numpy_rnn.study.checks.words import scientific
from numpy_rnn.study.records import Findings, Table

UNITS = "ulps and, in brackets, in units of the derived bound E"


def tables(findings: Findings) -> tuple[Table, ...]:
    """Two of differences, as a window has other witnesses than truncation and step; and the options of the steps."""
    return (
        _table(findings, "differences", WINDOW, f"Largest differences from the value by hand, in {UNITS}: a window"),
        _table(
            findings,
            "differences_steps",
            (*TRUNCATION, *STEP),
            f"Largest differences from the value by hand, in {UNITS}: truncation and step",
        ),
        _options(findings["checks"]["options"]),
    )


def _table(findings, name, ids, caption):
    equations = findings["checks"]["equations"]
    said = {id: {check["witness"]: check for check in equations[id]["checks"]} for id in ids}
    witnesses = [one for one in findings["checks"]["witnesses"] if any(one in checks for checks in said.values())]
    rows = [
        [f"({id})", equations[id]["quantity"], equations[id]["what"], *(_cell(said[id].get(one)) for one in witnesses)]
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
    head = ["options", "momentum μ", "dampening τ", "Nesterov", "weight decay λ", "clipped to m"]
    return Table("step_options", "Options of the updates on which (U1) to (U6) are checked", head, rows)


def _cell(check):
    if check is None:
        return ""
    if check["difference"] == 0:
        return "equal"
    bounds = "none allowed" if check["bounds"] is None else scientific(check["bounds"])
    return f"{scientific(check['ulps'], 2)} ({bounds})"
