"""The tables of this part."""

from numpy_rnn.study.items.masks import mask
from numpy_rnn.study.items.measure import few
from numpy_rnn.study.records import Findings, Table

ENDS = {"start": "before training", "end": "after training"}


def tables(findings: Findings) -> tuple[Table, ...]:
    """The checks of the items, what truncations cost at a few k, how far back losses reach, and the starting points."""
    found = findings["items"]
    return _checks(found), _costs(found), _reach(found), _starts(found)


def _checks(found):
    rows = [
        [
            name,
            f"{found['check'][end]['items']}",
            f"{found['check'][end]['elements']:,} of {found['check'][end]['of']:,}",
            number(found["check"][end]["difference"], ".1e"),
            f"{found['sums'][end]['truncations']}",
            number(found["sums"][end]["difference"], ".1e"),
        ]
        for end, name in ENDS.items()
    ]
    head = ["weights", "items", "elements by complex step", "largest difference", "truncations", "largest difference"]
    caption = (
        "Every item beside its complex step, and for every truncation the masked sum of the items beside what bptt"
        " returns, added up over the updates of an epoch. Differences are relative to the largest element of the"
        " item, or of the sum; the spacing of double precision is 2.2e-16 of a number."
    )
    return Table("items_check", caption, head, rows)


def _costs(found):
    T = found["steps"]
    rows = []
    for k in few(T):
        row = [f"{k}", f"{int(mask(T, k, k).sum())}", f"{int(mask(T, 1, k).sum())}"]
        for end, of in (("start", "all"), ("end", "all"), ("end", "W_hh")):
            for kind in ("chunks", "sliding"):
                cost = found["truncation"][end][of][kind]
                row.append(f"{number(cost['cosine'][k - 1], '.3f')} ({number(cost['bias'][k - 1], '.3f')})")
        rows.append(row)
    head = ["k", "items of chunks", "of sliding"]
    for when in ("before", "after", "after, W_hh alone:"):
        head += [f"{when} chunks", f"{when} sliding"]
    caption = (
        "Cosine with the full gradient, and the relative bias in parentheses, before and after training. The items of"
        " W_hy are never cut; W_hh alone shows what happens to the weights that a truncation is about."
    )
    return Table("truncation_cost", caption, head, rows)


def _reach(found):
    rows = [
        [name, *(f"{found['reach'][end][share]:.1f}" for share in ("50", "90", "99"))] for end, name in ENDS.items()
    ]
    caption = (
        "How many steps, counted back from the loss with its own step as the first, hold this share of the norms of a"
        f" row of the item matrix: the mean over the {found['steps']} rows."
    )
    return Table("reach", caption, ["weights", "50 %", "90 %", "99 %"], rows)


def _starts(found):
    rows = [
        [
            of["name"],
            number(of["spectral_radius"], ".2f"),
            number(of["slope"], ".2f"),
            number(of["saturated"], ".0%"),
            number(of["at_longest"], ".1e"),
            number(of["a_step"], ".2f"),
            number(of["difference"], ".1e"),
        ]
        for of in (*found["jacobians"], found["trained"])
    ]
    head = [
        "network",
        "spectral radius of W_hh",
        "mean slope",
        "saturated units",
        f"largest singular value over {found['steps']} steps",
        "a step",
        "largest difference to complex step",
    ]
    caption = (
        "The three starting points, and the end of training. The growth of a step is the mean one, as a factor; the"
        " difference is relative to the largest element of its jacobian."
    )
    return Table("starts", caption, head, rows)


def number(value, form: str) -> str:
    """The number in this form, or a dash where there is none."""
    return "–" if value is None else format(value, form)
