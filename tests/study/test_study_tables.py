"""Every cell of every table of the study, stated by the place of its number in the findings, which are made up."""

import pytest
from study_settings import made_up

from numpy_rnn.app.format import format_scientific
from numpy_rnn.study.study import tables_of


def band(of, form, index=None):
    median, low, high = (of[part] if index is None else of[part][index] for part in ("median", "low", "high"))
    return f"{median:{form}} ({low:{form}}, {high:{form}})"


def components():
    return made_up()["components"]


def training():
    return made_up()["training"]


def differences(ids):
    checks = made_up()["checks"]
    by_id = {id: {check["witness"]: check for check in checks["equations"][id]["checks"]} for id in ids}
    witnesses = [name for name in checks["witnesses"] if any(name in of for of in by_id.values())]

    def cell(check):
        if check is None or check["difference"] == 0:
            return "" if check is None else "equal"
        return f"{format_scientific(check['ulps'], 2)} ({format_scientific(check['bounds'])})"

    head = ["", "quantity", "what", *witnesses]
    equations = {id: checks["equations"][id] for id in ids}
    rows = [[f"({id})", of["quantity"], of["what"]] for id, of in equations.items()]
    return head, [row + [cell(by_id[id].get(name)) for name in witnesses] for id, row in zip(ids, rows)]


def step_options():
    rows = []
    for name, of in {one["name"]: one for one in made_up()["checks"]["options"]}.items():
        cells = [f"{of[key]:g}" for key in ("momentum", "dampening")]
        clipped = "no clipping" if of["max_norm"] is None else f"{of['max_norm']:.3g}"
        rows.append([name, *cells, "yes" if of["nesterov"] else "no", f"{of['weight_decay']:g}", clipped])
    return ["options", "momentum μ", "dampening τ", "Nesterov", "weight decay λ", "clipped to c"], rows


def components_check():
    rows = []
    for end, name in (("start", "before training"), ("end", "after training")):
        check, sums = components()["check"][end], components()["sums"][end]
        of = [str(check["components"]), f"{check['elements']:,} of {check['of']:,}", f"{check['difference']:.1e}"]
        rows.append([name, *of, str(sums["truncations"]), f"{sums['difference']:.1e}"])
    head = ["components", "elements by complex step", "largest difference", "truncations", "largest difference"]
    return ["weights", *head], rows


def truncation_cost():
    """Of 8 steps, row t keeps those of its chunk of k, the last of which ends at step 8; or the k newest."""
    result, rows = components(), []
    first, last = (result["seeds"]["along"][index]["cost"] for index in (0, -1))
    for k in (1, 2, 3, 5, 8):
        chunks = sum(t - max(0, min(-(-t // k) * k, 8) - k) for t in range(1, 9))
        row = [str(k), str(chunks), str(sum(min(t, k) for t in range(1, 9)))]
        for of in (first["all"], last["all"], last["W_hh"]):
            row += [band(of[kind]["cosine"], ".3f", k - 1) for kind in ("chunks", "sliding")]
        for kind in ("chunks", "sliding"):
            own, lower = result["truncation"]["end"]["all"][kind]["cosine"], result["seeds"]["place"]["end"][kind]
            row.append(f"{own[k - 1]:.3f} ({lower[k - 1]})")
        rows.append(row)
    groups = ("before:", "after:", "after, W_hh alone:", "after, this network:")
    kinds = [f"{when} {kind}" for when in groups for kind in ("chunks", "sliding")]
    return ["k", "components of chunks", "of sliding", *kinds], rows


def reach():
    result, rows = components(), []
    for end, index, name in (("start", 0, "before training"), ("end", -1, "after training")):
        rows.append([name, *(band(result["seeds"]["along"][index]["reach"], ".1f", place) for place in range(3))])
        rows.append([f"{name}, this network", *(f"{value:.1f}" for value in result["reach"][end].values())])
    return ["weights", "50 %", "90 %", "99 %"], rows


def starts():
    result, rows = components(), []
    columns = {"spectral_radius": ".2f", "slope": ".2f", "saturated": ".0%", "at_longest": ".1e", "a_step": ".2f"}
    own = {of["name"]: of for of in (*result["jacobians"], result["trained"])}
    for name, of in result["seeds"]["starts"].items():
        rows.append([name, *(band(of[key], form) for key, form in columns.items()), "–"])
        cells = [f"{own[name][key]:{form}}" for key, form in (columns | {"difference": ".1e"}).items()]
        rows.append([f"{name}, this network", *cells])
    head = ["spectral radius of W_hh", "mean slope", "saturated units", "largest singular value over 8 steps"]
    return ["networks", *head, "growth per step", "largest difference from complex step"], rows


def by_k():
    runs = [run for kind in ("sliding", "chunks") for run in training()["by_k"][kind]]
    runs = [run for n, run in enumerate(runs) if n < 5 or run["k"] > 1]
    finals = [[f"{run[part][-1]:.2g}" for part in ("median", "low", "high")] for run in runs]
    names = [[f"({run['k1']}, {run['k2']})"] for run in runs]
    rows = [name + final + [str(run["diverged"])] for name, final, run in zip(names, finals, runs)]
    return ["(k₁, k₂)", "median", "10 %", "90 %", "diverged"], rows


def ratio(one):
    median, low, high = (f"{one['ratio'][part]:.2g}" for part in ("median", "low", "high"))
    return f"{median} ({low}, {high})"


def disagreements():
    rows = []
    for one in training()["disagreements"]:
        steps = one["steps"]
        first, along = "other updates", "–"
        if steps["of_step"] is not None:
            first = f"update {steps['first_update']}: {steps['first_difference']:.2g}"
            along = f"{steps['of_step'][0]:.2g} → {steps['of_step'][-1]:.2g}"
        row = [one[key] for key in ("name", "formula", "who", "run")]
        rows.append([*row, first, along, ratio(one), one["verdict"], str(one["wrong"]["diverged"])])
    return None, rows


WINDOW = [f"F{n}" for n in (1, 2, 3)] + ["L1", "L2"] + [f"B{n}" for n in range(1, 11)]
STEPS = [f"{kind}{n}" for kind, count in (("T", 3), ("U", 6)) for n in range(1, count + 1)]
EXPECTED = {
    "differences": lambda: differences(WINDOW),
    "differences_steps": lambda: differences(STEPS),
    **{of.__name__: of for of in (step_options, components_check, truncation_cost, reach, starts, by_k, disagreements)},
}


@pytest.mark.parametrize("name", EXPECTED)
def test_every_cell(name):
    tables = {table.name: table for table in tables_of(made_up())}
    assert list(tables) == list(EXPECTED)  # all tables are stated here
    head, rows = EXPECTED[name]()
    assert head is None or tables[name].head == head
    for row, expected in zip(tables[name].rows, rows, strict=True):
        assert len(row) == len(tables[name].head)
        assert row == expected, row[0]
