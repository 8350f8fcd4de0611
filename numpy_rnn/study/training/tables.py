"""The tables of this part of the study."""

from numpy_rnn.study.records import Findings, Table


def tables(findings: Findings) -> tuple[Table, ...]:
    """Final losses by k, the disagreements, and the mistakes line by line."""
    training = findings["training"]
    return _by_k(training["by_k"]), _disagreements(training["disagreements"]), _mistakes(training["mistakes"])


def _by_k(by_k):
    rows = [
        [f"({run['k1']}, {run['k2']})", *_band(run), str(run["diverged"])]
        for run in by_k["sliding"] + [run for run in by_k["chunks"] if run["k"] > 1]
    ]
    caption = f"Loss of a pass after training, of {by_k['seeds']} networks each."
    return Table("by_k", caption, ["(k₁, k₂)", "median", "10 %", "90 %", "diverged"], rows)


def _band(run):
    return [_number(run[name][-1]) for name in ("median", "low", "high")]


def _disagreements(found):
    rows = [
        [
            one["name"],
            one["formula"],
            one["who"],
            f"({one['k1']}, {one['k2']})" + (", biases" if one["with_biases"] else ""),
            _first(one["steps"]),
            _along(one["steps"]["of_step"]),
            _ratio(one["ratio"]),
            str(one["wrong"]["diverged"]),
        ]
        for one in found
    ]
    head = [
        "way",
        "what is computed",
        "who computes it so",
        "run",
        "first step that differs, and by how much of its length",
        "steps of an epoch, at the start and at the end of training",
        "final loss over the definition's: median (10 %, 90 %)",
        "diverged",
    ]
    return Table("disagreements", "Where implementations disagree, and what it does.", head, rows)


def _first(steps):
    if steps["first_update"] is None:
        return "other updates" if steps["by_update"] is None else "none"
    return f"update {steps['first_update']}: {steps['first_difference']:.2g}"


def _along(of_step):
    return "–" if of_step is None else f"{_number(of_step[0])} → {_number(of_step[-1])}"


def _ratio(ratio):
    return f"{_number(ratio['median'])} ({_number(ratio['low'])}, {_number(ratio['high'])})"


def _mistakes(found):
    rows = [
        [
            one["name"],
            _code(one["lines"], "right"),
            _code(one["lines"], "wrong"),
            one["shown_by"] or "a random case",
            one["verdict"] + (f" (× {one['ratio']:.2g})" if one["ratio"] is not None else ""),
            _caught(one["caught"]),
        ]
        for one in found
    ]
    head = ["mistake", "right", "wrong", "shown by", "final loss, relative to the right run's", "caught by"]
    return Table(
        "mistakes", "Every known mistake, its lines, what it does to training and what catches it.", head, rows
    )


def _code(places, side):
    return "\n".join(f"{place['module']}:\n`{place[side]}`" for place in places)


def _caught(caught):
    if caught["tensor"] is None:
        return "nothing"
    by = f"({caught['equation']}): {caught['tensor']}"
    if caught["epoch"] is not None:
        by += f", epoch {caught['epoch']}, update {caught['update']}"
    return by + (", not what it has to be" if caught["ratio"] is None else f", {caught['ratio']:.1e} times the bound")


def _number(value):
    return "diverged" if value is None else f"{value:.2g}"
