"""The scripts of the lesson in headless Chromium: their numbers are those of numpy_rnn, and their controls work."""

import json
import random
import re
from dataclasses import replace

import numpy as np
import pytest
from cases import Kind, Sizes, random_run
from study_findings import made_up
from study_runs import near, small

import numpy_rnn
from numpy_rnn import Activations, Parameters, windows
from numpy_rnn.study.components.matrix import components_of, flat, mask, pairs
from numpy_rnn.study.components.measures import explorer
from numpy_rnn.study.figures.drawings import DRAWINGS
from numpy_rnn.study.figures.style import Picture
from numpy_rnn.study.page import pages

pytestmark = [pytest.mark.needs_matplotlib, pytest.mark.slow]

T = 6  # of the explorer's runs


@pytest.fixture(scope="module")
def page(new_page, tmp_path_factory):
    """The lesson, of a run on the sine wave."""
    pictures = {drawing.name: (Picture(b"<svg/>", (1.0, 1.0)),) * 2 for drawing in DRAWINGS}
    findings = replace(made_up(), explorer=explorer(small(T, 1, epochs=3)))
    path = tmp_path_factory.mktemp("page") / "lesson.html"
    path.write_text(pages.pages(findings, pictures)["lesson.html"], encoding="utf-8")
    opened = new_page(path)
    assert opened.evaluate(
        "[FIGURES.explore.state.size, RUNS.small.sizes.T, RUNS.full.sizes.T]"
    ) == ["small", 3, T]
    return opened


@pytest.fixture
def compute(page):
    """Evaluates JavaScript of the page with an argument; arrays are lists there."""

    def evaluate(script, argument=None):
        given = json.dumps(argument, default=lambda array: array.tolist())
        return json.loads(page.evaluate(f"JSON.stringify(({script})({given}) ?? null)"))

    return evaluate


def drawn(seed, steps, bias=True):
    """Parameters, inputs, targets and an initial state of a random network, as the page has them too."""
    params, x, target, h_0, *_ = random_run(seed, Sizes(steps, 2, 3, 4, 2), Kind(bias=bias))
    return (
        params,
        x,
        target,
        h_0,
        {"p": params._asdict(), "x": [None, *x], "target": [None, *target], "h_0": h_0},
    )


def near_parameters(found, expected, rtol=1e-11):
    for name, theta in expected._asdict().items():
        assert (theta is None) == (found[name] is None)
        if theta is not None:
            near(found[name], theta, name, rtol)


# -- the network ------------------------------------------------------------------------------------------------------

TRAINED = """({p, x, target, h_0, options}) => {
  let last = p; const losses = [];
  for (const {loss, p: q} of train(p, x, target, h_0, options)) { losses.push(loss); last = q; }
  return {losses, p: last}; }"""


@pytest.mark.parametrize(
    ("k1", "k2", "nonlinearity", "reduction"),
    [(1, 3, "tanh", "mean"), (3, 3, "sigmoid", "sum"), (2, 5, "relu", "mean")],
)
def test_an_epoch_of_updates_is_that_of_numpy_rnn(k1, k2, nonlinearity, reduction, compute):
    params, x, target, h_0, case = drawn(k2, 11, bias=k1 != 3)
    options = {
        "k1": k1,
        "k2": k2,
        "rate": 0.1,
        "nonlinearity": nonlinearity,
        "mean": reduction == "mean",
    }
    found, rule = (
        compute(TRAINED, case | {"options": options}),
        {"nonlinearity": nonlinearity, "reduction": reduction},
    )
    updates = list(
        numpy_rnn.train(params, x, target, h_0, k1=k1, k2=k2, learning_rate=0.1, epochs=1, **rule)
    )
    near(found["losses"], [update.loss for update in updates])
    near_parameters(found["p"], updates[-1].parameters)


# -- the explorer -----------------------------------------------------------------------------------------------------

RUNS = {
    "relu": {"epochs": 1, "nonlinearity": "relu", "hidden_size": 8, "momentum": 0.9},
    "everything": {
        "epochs": 2, "hidden_size": 3, "bias": True, "reduction": "mean", "learn_initial_state": True, "k1": 2, "k2": 3,
        "learning_rate": 0.05, "max_norm": 0.02, "weight_decay": 0.01, "momentum": 0.5, "nesterov": True,
    },
}  # fmt: skip
COMPUTED = """({data, states}) => {
  const updates = states.map(([epoch, k1, k2, update, uncut, rate]) => {
    const now = momentOf(data, {epoch, k1, k2, update, uncut, rate, at: "step_1"});
    const {activations: {a, h, y}, flow, first, window} = now, {delta, after, losses} = stepOf(now);
    return {a, h, y, ...flow, window, first, gradients: {delta, after, gradient: gradientSoFar(now),
      sum: gradientSum(now.p, now.activations, flow, first, window.stop)}, losses, words: stepInWords(now)};
  });
  const norms = data.snapshots.map((seen) => passOf(data, seen)).map(({p, activations}) =>
    normsOf(p, activations, inSteps(data.target), data.nonlinearity));
  return {updates, norms};
}"""


def updates_of_all_truncations(epochs):
    """(epoch, k1, k2, update, uncut, η) of every update of every truncation, the others in turn."""
    states = [(k1, k2, n) for k1, k2 in pairs(T) for n in range(1, -(-T // k1) + 1)]
    return [
        (i % epochs, *state, i // epochs % 2, (0.01, 3.0)[i % 2]) for i, state in enumerate(states)
    ]


@pytest.mark.parametrize("name", RUNS)
def test_the_explorer_shows_the_numbers_of_numpy_rnn(name, compute):
    """Forward pass, gradient and step of every update, the words about steps that raise their loss, and components."""
    subject = small(T, 1, **RUNS[name])
    objective, step = subject.options.objective, subject.options.step
    options, raised = {"nonlinearity": objective.nonlinearity}, 0
    reduced = options | {"reduction": objective.reduction}
    momentum = {key: getattr(step, key) for key in ("momentum", "nesterov", "weight_decay")}
    states = updates_of_all_truncations(len(subject.snapshots))
    found = compute(COMPUTED, {"data": explorer(subject), "states": states})
    for state, result in zip(states, found["updates"], strict=True):
        epoch, k1, k2, number, uncut, rate = state
        window = list(windows(T, k1, k2))[number - 1]
        start = 0 if uncut else window.start  # without the cut, the window begins at step 1
        new, target = slice(start, window.stop), subject.target[window.loss_start : window.stop]
        whole = subject.snapshots[epoch].params
        params = whole if start == 0 else whole._replace(h_0=None)
        x, a, h, y = numpy_rnn.forward(whole, subject.x, subject.initial_state(whole), **options)
        activations = Activations(x[new], a[new], h[start : window.stop + 1], y[new])
        flow = numpy_rnn.adjoints(params, activations, target, **reduced)
        total = gradient = numpy_rnn.bptt(params, activations, target, **reduced)
        if step.max_norm is not None:
            gradient = numpy_rnn.clip_by_global_norm(total, step.max_norm)
        delta, _ = numpy_rnn.direction(params, gradient, **momentum)
        after = numpy_rnn.sgd(params, delta, rate)
        again = numpy_rnn.forward(
            after, x[new], h[start] if after.h_0 is None else after.h_0, **options
        )
        losses = [
            numpy_rnn.half_squared_error(
                of.y[-len(target) :], target, reduction=objective.reduction
            )
            for of in (activations, again)
        ]
        assert (result["first"], result["window"]) == (
            start + 1,
            dict(zip(("start", "lossStart", "stop"), window)),
        )
        for quantity, values in {"a": a, "y": y, "h": h[1:]}.items():
            near(result[quantity][1:], values, quantity)
        for quantity in ("dy", "dh", "da"):
            near(result[quantity][start + 1 : window.stop + 1], getattr(flow, quantity), quantity)
        for key, values in {
            "sum": total,
            "gradient": gradient,
            "delta": delta,
            "after": after,
        }.items():
            near_parameters(result["gradients"][key], values, rtol=1e-10)
        near(result["losses"], losses)
        first_order = rate * sum(np.vdot(d, e) for d, e in zip(total, delta) if d is not None)
        assert ("too large" in result["words"]) == (losses[1] > losses[0] and first_order > 0)
        raised += "too large" in result["words"]
    assert raised or name == "everything"  # whose steps are clipped
    for snapshot, norms in zip(subject.snapshots, found["norms"], strict=True):
        G = flat(components_of(subject, snapshot.params))
        near(
            [v for row in norms[1:] for v in row[1:]],
            np.linalg.norm(G, axis=-1)[np.tril_indices(T)],
        )


EXPLAINED = """() => exploredNow(FIGURES.explore.state).moments.map(({what, t}) => [what,
  explained(exploredNow({...FIGURES.explore.state, at: `${what}_${t}`})).rows.map(([, numbers]) => numbers)])"""


def test_the_numbers_of_a_moment_make_its_result(page):
    """Parts are added, a slope multiplies, and a step leads from the old weights to the new ones."""
    for words in ("size=full&k1=2&k2=4&update=2", "size=small&k1=1&k2=3&update=3"):
        page.evaluate(f"FIGURES.explore.go('{words}')")
        for what, rows in page.evaluate(EXPLAINED):
            *parts, result = (np.array(0.0 if row is None else row) for row in rows)
            if what in ("a", "y", "dh"):
                near(sum(parts), result, what)
            elif what == "da":
                near(parts[0] * parts[1], result, what)
            elif what == "dy" and result.any():
                near((parts[0] - parts[1]) / np.prod(parts[2:]), result, what)
            elif what == "step":
                for old, change, new in zip(*(rows[n::3] for n in range(3)), strict=True):
                    near(np.add(old, change), new, what)


EDGES = """() => [["[data-what='dh'][data-t='1']", "right"], [".cut-line path", "left"],
  ["[data-what='h'][data-t='2']", "left"]].map(([one, edge]) =>
  document.querySelector(`#explore-drawing ${one}`).getBoundingClientRect()[edge])"""


def outputs(page, *names):
    """The words next to controls of the explorer."""
    return [page.locator(f"#explore-{name}-output").text_content() for name in names]


def test_keys_clicks_and_links_lead_to_the_same_view(page):
    page.evaluate("FIGURES.explore.go('')")
    assert outputs(page, "k1", "k2", "update", "moment") == [
        "1",
        "2",
        "3 of 3",
        "12 of 16: dh2",
    ]  # a window that cuts
    assert page.locator("#explore-drawing .scissors").count() > 0
    edges = page.evaluate(EDGES)  # of step 1, of the cut, of step 2
    assert edges == sorted(edges)
    page.evaluate("FIGURES.explore.set({size: 'full'})")
    page.evaluate(
        "FIGURES.explore.set({k2: 5}); FIGURES.explore.set({k1: 3}); FIGURES.explore.set({update: 2})"
    )
    page.evaluate("FIGURES.explore.set({k2: 2})")
    assert outputs(page, "snapshot", "k1", "k2", "update") == [
        "3",
        "2",
        "2",
        "3 of 3",
    ]  # k1 never exceeds k2
    page.locator("#explore-drawing").focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert outputs(page, "update")[0] == "2 of 3"
    assert outputs(page, "moment")[0].endswith(": a4")
    page.locator("#explore-drawing .cells[data-what='dh'][data-t='3']").dispatch_event("click")
    assert outputs(page, "moment")[0].endswith(": dh3")
    page.locator("a[data-set^='size=small k1=1 k2=2 update=3 uncut=1']").click()
    assert page.locator("#explore-uncut").is_checked()
    assert outputs(page, "moment")[0].endswith("da1")
    page.locator("#explore-row").evaluate(
        "(one) => { one.value = 2; one.dispatchEvent(new Event('input')); }"
    )
    page.keyboard.press("End")
    page.locator("#explore-play").click()  # at the end it begins again
    assert page.locator("#explore-play").text_content() == "Stop"
    page.locator("#explore-play").click()
    assert page.locator("#explore-play").text_content() == "Play"


def test_windows_show_the_mask(page):
    kept = "[...document.querySelectorAll('#windows-drawing .kept')].map((e) => [e.dataset.t - 1, e.dataset.s - 1])"
    for k1, k2 in pairs(T):
        schedule = list(windows(T, k1, k2))
        page.evaluate(
            f"FIGURES.windows.set({{k1: {k1}, k2: {k2}, update: {(k1 + k2) % len(schedule) + 1}}})"
        )
        assert sorted(page.evaluate(kept)) == np.argwhere(mask(T, k1, k2)).tolist()
        text = " ".join(page.locator("#windows-text").text_content().split())
        assert f"{int(mask(T, k1, k2).sum())} of {T * (T + 1) // 2} terms" in text
        assert f"{sum(window.steps for window in schedule)} forward steps" in text
        start, loss_start, stop = schedule[(k1 + k2) % len(schedule)]
        steps = f"steps {loss_start + 1} to {stop}" if stop > loss_start + 1 else f"step {stop}"
        cut = f"cut before step {start + 1}" if start else "nothing to cut"
        assert text.endswith(f": window ({start}, {stop}], loss of {steps}, {cut}.")
        assert page.locator("#windows-drawing .update").count() == -(-T // k1)


# -- the reader's own numbers -----------------------------------------------------------------------------------------


def test_the_small_network_has_the_readers_numbers(page, compute):
    """A change of a number is seen on all screens; its gradients, the nudge and the sums are those of numpy_rnn."""
    page.evaluate("FIGURES.net.go('')")
    before = page.locator("#adds-sums").inner_html()
    page.locator("#net-inputs input").nth(8).fill("1.5")  # W_hh, from 1 to 1
    assert page.locator("#adds-sums").inner_html() != before
    page.locator("#net-inputs input").nth(0).fill("much")
    assert page.locator("#net-inputs input").nth(0).get_attribute("aria-invalid") == "true"
    run = compute("() => RUNS.small")
    assert run["snapshots"][0]["parameters"]["W_hh"] == [[1.5, -0.3], [0.2, 0.5]]
    assert run["x"] == [[0.9], [0.7], [0.3]]  # "much" changes nothing
    params = Parameters(
        *(np.array(run["snapshots"][0]["parameters"][name]) for name in Parameters._fields[:3])
    )
    x, target = (np.array(run[name])[:, None] for name in ("x", "target"))
    activations = numpy_rnn.forward(params, x, np.zeros((1, 2)))
    flow = numpy_rnn.adjoints(params, activations, target)
    gradients = numpy_rnn.bptt(params, activations, target)
    for t in (1, 2, 3):
        for name in ("dy", "dh", "da"):
            assert compute(f"() => value(smallNow('{name}_{t}'), '{name}', {t})") == pytest.approx(
                getattr(flow, name)[t - 1, 0]
            )
            nudged = f"(by) => nudgedLoss(smallNow('{name}_{t}'), {{what: '{name[1:]}', t: {t}}}, by).loss"
            slope = (compute(nudged, 1e-5) - compute(nudged, -1e-5)) / 2e-5
            assert slope == pytest.approx(getattr(flow, name)[t - 1, 0, 0], abs=1e-8)
    page.evaluate("FIGURES.adds.set({steps: 3})")
    shown = page.locator("#adds-sums .total").first.locator("td").all_text_contents()
    assert [float(text.replace("−", "-")) for text in shown] == pytest.approx(
        gradients.W_hh.ravel(), rel=0.05
    )
    for unit in ("1", "2"):
        page.evaluate(f"FIGURES.transpose.set({{unit: '{unit}'}})")
        sums = [
            page.locator(f"#transpose-{way} .sum b").text_content().replace("−", "-")
            for way in ("forward", "backward")
        ]
        expected = [activations.h[1] @ params.W_hh, flow.da[1] @ params.W_hh.T]
        assert [float(v) for v in sums] == pytest.approx(
            [row[0, int(unit) - 1] for row in expected], rel=0.01
        )
    page.locator("#net-reset").click()
    assert page.locator("#adds-sums").inner_html() != before  # of three steps, not one
    page.evaluate("FIGURES.adds.set({steps: 1})")
    assert page.locator("#adds-sums").inner_html() == before


# -- all figures ------------------------------------------------------------------------------------------------------

MOVED = """() => Object.entries(FIGURES).flatMap(([figure, {id, go, words}]) => {
  const seen = () => element(id).innerHTML.replace(/inside-\\d+/g, "");
  const controls = [...element(id).querySelectorAll("input, select")].filter(({id}) => id);
  return controls.map((control) => {
    go(figure === "explore" ? "size=full at=step_3" : "");
    const {type, value, max, min} = control, [first, before] = [words(), seen()];
    if (type === "checkbox") control.click();
    else {
      control.value = type === "range" ? (value === max ? min : max) : type === "text" ? `2 * (${value})`
        : [...control.options].find((option) => option.value !== value).value;
      control.dispatchEvent(new Event("input"));
    }
    const [now, after] = [words(), seen()];
    go("");
    go(now);
    return {id: control.id, words: now, changes: now !== first && after !== before, returns: seen() === after};
  });
})"""


OUTSIDE = """() => Object.values(FIGURES).flatMap(({id, go}) => {
  go("");
  return [...element(id).querySelectorAll("svg")];
}).flatMap((svg) => [...svg.querySelectorAll("rect, text, circle")].filter((e) => {
  const [at, all] = [e, svg].map((one) => one.getBoundingClientRect());
  const beyond = [all.left - at.left, all.top - at.top, at.right - all.right, at.bottom - all.bottom];
  return !e.closest("clipPath, [clip-path]") && Math.max(...beyond) > 1;
}).map((e) => e.outerHTML))"""


def test_nothing_is_drawn_outside_of_a_figure(page):
    assert page.evaluate(OUTSIDE) == []


def test_every_control_changes_its_figure_and_the_address(compute):
    """By the address, the view is there again; what the address does not say is as at first."""
    moved = compute(MOVED)
    assert [one["id"] for one in moved if not (one["changes"] and one["returns"])] == []
    assert len(moved) > 35


def test_the_address_keeps_the_state_of_all_figures(page):
    from playwright.sync_api import expect

    page.evaluate("Object.values(FIGURES).forEach(({go}) => go(''))")
    page.locator("#own-empty").click()
    page.evaluate(
        "FIGURES.windows.set({k1: 2, k2: 4}); FIGURES.recall.set({d: 5}); FIGURES.own.set({named: 0})"
    )
    page.wait_for_timeout(400)  # the address is not written at once
    hash = page.evaluate("location.hash")
    assert hash.startswith("#own/")
    page.evaluate(
        "Object.values(FIGURES).forEach(({go}) => go('')); history.replaceState(null, '', '#')"
    )
    assert page.locator("#own-B1").input_value() != ""
    page.evaluate(f"location.hash = {json.dumps(hash)}")
    expect(page.locator("#recall-d-output")).to_have_text("5")
    assert page.evaluate("[FIGURES.windows.state.k1, FIGURES.windows.state.k2]") == [2, 4]
    assert page.locator("#own-B1").input_value() == ""
    assert not page.locator("#own-named").is_checked()


BAD = (
    "#explore/size=toString", "#own/B3=%E0%A4%A", "#own/B3=" + "1%2B" * 1200, "#constructor/x=1",
    "#explore/k1=1e9&k2=-3",
    "#net/numbers=1,2,3", "#recall/d=99;windows/k1=x", "#explore/__proto__=1&constructor=2", "#/", "#;;;", "#own/B1",
    "#explore/at=dh_2_3", "#cliff/w=Infinity", "#radius/rho=0",
)  # fmt: skip


def test_a_bad_address_opens_the_page_as_without_it(page):
    """The end of `new_page` says that nothing was written to the console either."""
    page.evaluate("Object.values(FIGURES).forEach(({go}) => go(''))")
    words = "Object.values(FIGURES).map((one) => one.words()).join()"
    first = page.evaluate(words)
    for hash in BAD:
        page.evaluate(f"location.hash = {json.dumps(hash)}; followAddress()")
        assert page.evaluate(words).replace("B1=", "") == first, hash


# -- the worked example -----------------------------------------------------------------------------------------------


def test_the_two_copies_have_the_derivatives_of_complex_step(compute):
    def loss(w1, w2):
        h1 = 1 + w1
        return ((h1 - 2) ** 2 + (1 + h1 * w2 - 6) ** 2) / 2

    for w1, w2 in ((2, 2), (1.3, 2.7), (2.9, 1.1)):
        found = compute("([w1, w2]) => exampleAt(w1, w2)", [w1, w2])
        near(found["loss"], loss(w1, w2))
        near(
            found["partial"][1:],
            [loss(w1 + 1e-30j, w2).imag * 1e30, loss(w1, w2 + 1e-30j).imag * 1e30],
        )
        near(found["sum"], loss(w1 + 1e-30j, w2 + 1e-30j).imag * 1e30)
    found = compute("() => exampleAt(2, 2)")  # as in DERIVATION.md, with the usual wrong answer
    assert [found[key] for key in ("loss", "sum", "double")] == [1, 6, 8]


# -- the own backward pass --------------------------------------------------------------------------------------------

NUMBER = re.compile(
    r"(?<![\w.\[=])(?<!axis=-)(\d+\.?\d*(?:e-\d+)?)(?![\w\]])"
)  # no step, and no axis
LEAVES = [
    "h[t]",
    "a[t-1]",
    "da[t+1]",
    "W_hh",
    "W_xh",
    "b_h",
    "2",
    "0.5",
    "N",
    "x[1]",
    "h[T]",
    "1e-1",
]


def expression(draw, depth):
    """A random expression of the language, which is one of NumPy too; what is stepped is an array of arrays."""
    if depth == 0 or draw.random() < 0.15:
        return draw.choice(LEAVES)
    u, v = (expression(draw, depth - 1) for _ in range(2))
    return draw.choice([
        f"{u} + {v}", f"{u} - {v}", f"{u} * {v}", f"{u} @ {v}", f"({u}) @ ({v}).T", f"-{u}", f"({u})**2", f"({u}).T",
        f"({u}).sum(axis=0)", f"({u}).sum(axis=-1)", f"({u}).sum()", f"np.tanh({u})", f"-{u}**2",
        f"{u} / (2 + ({v})**2)",
    ])  # fmt: skip


COMPUTED_TEXTS = """({p, x, target, h_0, N, t, texts, da}) => {
  const env = Object.assign(environment(p, forward(p, x, h_0, "tanh"), target, N, {da}), {t});
  return texts.map((text) => {
    try { return parse(text)(env); }
    catch (error) { if (!(error instanceof LineError)) throw error; return null; }
  });
}"""


def test_the_language_computes_what_numpy_does(compute):
    params, x, target, h_0, case = drawn(7, 5)
    activations = numpy_rnn.forward(params, x, h_0)
    da = [None, *numpy_rnn.adjoints(params, activations, target).da]
    draw, t, count = random.Random(5), 3, 300
    texts = [expression(draw, draw.choice([1, 2, 3])) for _ in range(count)]
    found = compute(COMPUTED_TEXTS, case | {"N": 7.0, "da": da, "t": t, "texts": texts})
    names = {
        **params._asdict(),
        "h": activations.h,
        "np": np,
        "t": t,
        "T": len(x),
        "N": np.float64(7),
        "da": da,
    }
    names |= {"a": [None, *activations.a], "x": [None, *x]}
    computed = 0
    for text, value in zip(texts, found, strict=True):
        try:
            expected = eval(NUMBER.sub(r"np.float64(\1)", text), {"__builtins__": {}}, names)
        except (ValueError, TypeError):
            expected = None
        if value is not None:
            assert np.shape(value) == np.shape(expected), text
            near(value, expected, text)
        else:
            assert expected is None or "@" in text, (
                text
            )  # vectors, which the language refuses there
        computed += value is not None and expected is not None
    assert computed > count / 3


KNOWN = "x[t], target[t], a[t], h[t], y[t], dy[t], dh[t], da[t], W_xh, W_hh, W_hy, b_h, b_y, h_0, N, B, T"
SAID = {  # of a line, in place of that of (B2), or of (B3), (B5) and (B7)
    "dy[t] @ W_hy.T +": "the line is not finished",
    "dy[t] @ W_hy": "@: shapes (2, 5) and (4, 5) do not fit, 5 ≠ 4",
    "dy @ W_hy.T": "dy needs a step: dy[t]",
    "dy[s] @ W_hy.T": "[s] is no step: expected t, T or a number",
    "dy[t] @ W_hy.T; x": "“;” is not part of the language",
    "(dy[t] @ W_hy.T": "“)” is expected after the expression in parentheses",
    "np.dot(dy[t], W_hy.T)": "np.dot is not part of the language: np.tanh is",
    "dy[t] @ W_hy.T + h[t+1]": "h[4] does not exist: the window ends at step 3",
    "da[t] @ W_hh.T": "da[t] is not known yet at this line",
    "dy[t].sum(axis=2)": "axis 2 does not exist in shape (2, 5)",
    "dy[t]": "this has the shape (2, 5), and dh has (2, 4)",
    "alert(1)": f"alert is unknown: expected one of {KNOWN}",
    "h[t]": None,
    "B5: 7 * (h[t-1].T @ da[t])": "This is the right value times 7.000.",
    "B3: -dh[t] * (1 - h[t]**2)": "This is the right value times −1: the sign is wrong.",
    "B7: da[t].sum(axis=0) * N": "This is the right value times N.",
    "B5: 0.5 * h[t-1].T @ da[t]": "The right value times ½, which is 1/B: no factor belongs here, the mean is in dy"
    " already.",
    "1" + "+1" * 200: "the line is too long: expected 300 characters at most",
}


def test_lines_that_are_wrong_say_why(compute):
    for text, message in SAID.items():
        line, _, code = text.partition(": ") if text[0] == "B" else ("B2", "", text)
        found = compute(
            "([line, text]) => checkLines({...rightLines(), [line]: text}).verdicts[line]",
            [line, code],
        )
        is_error = message is not None and not message.startswith(
            ("This is the", "The right value")
        )
        assert found == {"kind": "error" if is_error else "wrong", "message": message}, text


MISTAKEN = """() => mistakenValues.map(({line, text, message}) => {
  const {verdicts, first} = checkLines({...rightLines(), [line]: `0 + (${text})`});
  const {result} = byLines(parsedLines({...rightLines(), [line]: text}), null);
  const names = Object.values(LINES).filter((line) => line.summed || line.once).map((line) => line.name);
  const numbers = names.map((key) => `${key} = ${JSON.stringify(each((v) => v.toPrecision(6), result[key]))}`);
  const wrong = Object.entries(verdicts).filter(([id, {kind}]) => kind !== "right");
  return {text, wrong, expected: [[line, {kind: "wrong", message}]], tensor: LINES[line].name, first: first.label,
    said: pasted(numbers.join(" ")).at(-1), end: `(${line}). ${message}`};
})"""


def test_every_mistake_is_named_by_its_value(compute):
    """However it is written, and where the gradients are pasted. The other lines are judged on right inputs."""
    assert compute("() => checkLines(rightLines()).first") is None
    found = compute(MISTAKEN)
    assert len(found) > 40
    for one in found:
        assert one["wrong"] == one["expected"], one["text"]
        assert one["first"].startswith(one["tensor"]), one["text"]
        assert one["said"].endswith(one["end"]), one["text"]


@pytest.fixture(scope="module")
def own_gradients(page):
    """The gradients of the network of the page by numpy_rnn, in float32, and its numbers."""
    names = {"np": np}
    exec(page.locator("#paste-numbers").text_content(), names)
    params = Parameters(*(names[name].astype(np.float32) for name in Parameters._fields))
    x, target = names["x"].astype(np.float32), names["target"].astype(np.float32)
    activations = numpy_rnn.forward(params, x, params.h_0)
    return numpy_rnn.bptt(params, activations, target, reduction="mean")._asdict(), (
        params,
        x,
        target,
    )


def printed(gradients, decimals=4, names=None):
    """As `print(tensor)` does: with a fixed number of decimals."""
    with np.printoptions(precision=decimals, floatmode="fixed", suppress=True):
        return "\n".join(f"{(names or {}).get(name, 'd' + name)} tensor({np.array2string(v, separator=', ')})"
                         for name, v in gradients.items())  # fmt: skip


def test_right_gradients_are_right_however_they_are_printed(own_gradients, compute):
    gradients, _ = own_gradients
    torch_names = {"W_xh": "rnn.weight_ih_l0.grad", "W_hh": "rnn.weight_hh_l0.grad", "W_hy": "out.weight.grad",
                   "b_h": "rnn.bias_hh_l0.grad", "b_y": "out.bias.grad", "h_0": "h0.grad"}  # fmt: skip
    turned = {name: v.T if name in ("W_xh", "W_hh", "W_hy") else v for name, v in gradients.items()}
    karpathy = {"W_xh": "dWxh", "W_hh": "dWhh", "W_hy": "dWhy", "b_h": "dbh", "b_y": "dby"}
    columns = {
        own: turned[name].reshape(-1, 1) if name[0] == "b" else turned[name]
        for name, own in karpathy.items()
    }
    rows = "\n".join(f"d{name}:\n" + "\n".join(" ".join(f"{x:.5e}" for x in row) for row in np.atleast_2d(v))
                     for name, v in gradients.items())  # fmt: skip
    sizes = "\n".join(f"epoch 1 [1/9] loss 0.9 # d{name} {size} {v}" for name, v in gradients.items() for size in
                      (f"torch.Size({[*v.shape]})\n", f"{v.shape} tensor", f"{[*v.shape]} tensor", f"shape={v.shape}",
                       f"({'x'.join(map(str, v.shape))}) norm 0.5"))  # fmt: skip
    scaled = (
        f"dW_hh tensor(1.00000e-02 *\n {(100 * gradients['W_hh'].astype(float)).round(4).tolist()})"
    )
    texts = {
        "numpy": "\n".join(f"d{name} = {v!r}" for name, v in gradients.items()),
        "jax": "\n".join(
            f"{{'{name}': {repr(v).replace('array', 'Array')}}}" for name, v in gradients.items()
        ),
        "json": json.dumps({f"d{name}": v.tolist() for name, v in gradients.items()}),
        "four decimals": printed(gradients),
        "torch": printed(turned, names=torch_names),
        "torch, batch of states": printed({"h_0": gradients["h_0"][None]}, names=torch_names),
        "torch, turned back": printed(
            {"W_hh": gradients["W_hh"]}, names={"W_hh": "weight_hh_l0.grad.T"}
        ),
        "min-char-rnn": "\n".join(f"{name} = {v}" for name, v in columns.items()),
        "rows": rows,
        "scaled": scaled,
        "sizes": sizes,
        "without names": "\n".join(f"{v}" for v in gradients.values()),
        "without names, torch": "\n".join(
            f"tensor({v.tolist()}, requires_grad=True)" for v in turned.values()
        ),
    }
    for kind, text in texts.items():
        messages = compute("(text) => pasted(text)", text)
        wrong = [
            said
            for said in messages
            if not re.search(r": right(, to the digits that are printed)?\.$", said)
        ]
        assert (messages == [], wrong) == (False, []), kind
    assert compute("(text) => pasted(text)", texts["torch"])[0].startswith(
        "rnn.weight_ih_l0.grad: this is dW_xhᵀ: "
    )


def test_a_wrong_gradient_is_wrong_by_its_digits(own_gradients, compute):
    """Two units of the last digit that is there are wrong, however many digits there are."""
    gradients, (params, *_) = own_gradients
    for decimals in (3, 4, 5, 6):
        off = gradients["W_hh"].astype(float).round(decimals)
        off[1, 2] += 2 * 10.0**-decimals
        (message, *_) = compute("(text) => pasted(text)", printed({"W_hh": off}, decimals))
        assert message.startswith("dW_hh: wrong, the largest difference is"), decimals
    for text, message in {
        "dW_xh = [[1, 2], [3, 4]]": "dW_xh: the shape is (2, 2), expected (3, 4), or (4, 3) as in PyTorch.",
        "db_h = [1, 2]": "db_h: the shape is (2,), expected (4,).",
        "dW_hh = [[1, 2], [3]]": "dW_hh: the shape is of rows that differ in length, expected (4, 4).",
        "[[1, 2, 3, 4, 5, 6]]": "an array (1, 6): shape (1, 6) is that of no gradient of this network.",
        "db_h = [nan, 1, 2, 3]": "db_h: wrong, not all of its numbers are finite.",
        printed(
            {"b_h": gradients["b_h"]}, 1
        ): "db_h: cannot be told, too few digits are printed; print at least four.",
        printed(
            {"W_xh": params.W_xh}
        ): "dW_xh: these are the weights themselves; print their .grad.",
        "no array here": "No numbers are found: paste arrays, each after its name, such as dW_hh = [[…]].",
    }.items():
        assert compute("(text) => pasted(text)", text)[0] == message


def test_slips_of_a_program_are_named(own_gradients, compute):
    """By numpy_rnn: what a user of PyTorch may do otherwise, and mistakes that are in two equations at once."""
    gradients, (params, x, target) = own_gradients

    def of(params=params, nonlinearity="tanh", factor=1.0, last=3, h_0=None):
        made = numpy_rnn.forward(
            params, x, params.h_0 if h_0 is None else h_0, nonlinearity=nonlinearity
        )
        made = numpy_rnn.bptt(
            params, made, target[-last:], nonlinearity=nonlinearity, reduction="sum"
        )
        return {
            name: np.float32(factor / 30) * v for name, v in made._asdict().items() if v is not None
        }

    for found, words in (
        (of(factor=30), "division by N is missing"),
        (of(factor=2), "nn.MSELoss has no ½, or backward() ran twice without zero_grad()"),
        (of(factor=60), "And there is a factor of 2: nn.MSELoss"),
        (of(factor=5), "All are O times the right ones: the mean is not over the outputs."),
        (of(params._replace(b_h=2 * params.b_h)), "bias is added twice"),
        (of(params._replace(h_0=0 * params.h_0)), "h_0 is zero"),
        (of(params._replace(W_hh=params.W_hh.T)), "is loaded with W_hh.T"),
        (of(last=1), "Only the last step has a loss in your program; here"),
        (
            of(last=1, factor=6),
            "mean is over it alone; here every step has one. And there is a factor of 2: nn.MSE",
        ),
        (of(nonlinearity="relu"), "relu in your program"),
        (
            of(params._replace(b_h=2 * params.b_h), factor=2),
            "set one of them to zero. And there is a factor of 2",
        ),
        ({name: 0.7 * v for name, v in gradients.items()}, "No mistake of the list"),
        ({"W_hh": gradients["W_hh"].T}, "dW_hh: transposed"),
        (
            {"rnn.weight_hh_l0": gradients["W_hh"]},
            "the right one: PyTorch’s own gradient has the other orientation.",
        ),
    ):
        said = compute("(text) => pasted(text)", printed(found, 6))[-1]
        assert (words in said, "All are" in said) == (True, words.startswith("All are"))


PAIRED = """() => Object.entries(SAME_LINE).map(([text, paired]) => {
  const {result} = byLines(parsedLines({...rightLines(), B2: text, B9: paired}), null);
  const names = Object.values(LINES).filter((line) => line.summed || line.once).map((line) => line.name);
  return {text, said: pasted(names.map((key) => `${key} = ${JSON.stringify(result[key])}`).join(" ")).at(-1)};
})"""


def test_a_line_that_makes_dh_0_too_is_named(compute):
    """In real programs the second term of (B2) and (B9) are one line."""
    found = compute(PAIRED)
    assert [f"dh[t] = {one['text']} in (B2)" in one["said"] for one in found] == [True] * 7, found


def test_the_reader_repairs_a_line_and_trains_with_it(page):
    """At first (B2) has the usual mistake. Training by the right lines is training by the right gradient."""
    from playwright.sync_api import expect

    page.evaluate("FIGURES.own.go(''); Object.assign(LESSON, {updates: 30})")
    still, without = page.evaluate(
        "[0, 0.5].map((rate) => [...lesson({}, Object.assign(LESSON, {rate}))])"
    )
    assert still == without  # where a line is missing, its weights stay
    verdict, result = (page.locator(f"#own-{name}") for name in ("B2-verdict", "result"))
    assert "W_hh needs a transpose here" in verdict.text_content()
    assert "The first wrong tensor of the whole pass is dh[2]" in result.text_content()
    for text, is_right in (("da[t+1] @ W_hh.T + dy[t] @ W_hy.T", True), ("dy[t] @ W_hy.T", False)):
        page.locator("#own-B2").fill(text)
        assert ("All nine lines are right" in result.text_content()) == is_right
        page.locator("#own-train").click()
        expect(page.locator("#own-lesson")).to_have_text(re.compile("^Mean of the last 50 updates"))
        curve, reference = page.evaluate("[training.curve, training.reference]")
        assert np.allclose(curve, reference, rtol=1e-11) == is_right
    page.locator("#own-B3").fill("dh[t] * (1 - h[t] * h[t])")
    assert page.locator("#own-curve svg").count() == 0  # the old curve is not that of these lines
    page.locator("#own-empty").click()
    assert page.locator("#own-train").is_disabled()
    assert result.text_content() == "No line is written yet. Begin with (B1)."
    page.locator("#own-B2").fill("dy[t] @ W_hy.T")
    assert "agree" not in result.text_content()
    page.locator("#own-plant").click()
    assert "The first wrong tensor" in result.text_content()
    assert not page.locator("#own-named").is_checked()
    page.locator("#own-right").click()
    assert "All nine lines" in result.text_content()


# -- delayed recall ---------------------------------------------------------------------------------------------------


def test_recall_trains_as_numpy_rnn_does(compute):
    """32 networks on the page's stream."""
    d, k2, updates = 3, 5, 50
    found = compute("""([d, k2, updates]) => {
      const trial = newRecall(d, k2);
      for (let i = 0; i < updates; i++) advance(trial);
      return {losses: trial.all.map(({losses}) => losses), points: trial.points, learned: trial.learned,
        series: recallSeries(d, updates), networks: range(1, RECALL.networks).map(recallNetwork), rate: RECALL.rate};
    }""", [d, k2, updates])  # fmt: skip
    x, target = (np.array(found["series"][name][1:], float) for name in ("x", "target"))
    params = Parameters(
        *(np.array([one[name] for one in found["networks"]]) for name in Parameters._fields[:3])
    )
    h_0, options = (
        np.zeros((x.shape[1], params.W_hh.shape[-1])),
        {"learning_rate": found["rate"], "reduction": "mean"},
    )
    run = numpy_rnn.train(params, x, target, h_0, k1=1, k2=k2, epochs=1, **options)
    expected = 2 * np.array([update.loss for update in run])
    near(np.transpose(found["losses"]), expected, rtol=1e-9)
    late = np.sort(expected[25:].mean(axis=0))
    near(found["points"][-1], [50, *late[[3, 15, 28]]], rtol=1e-9)  # 10, 50 and 90 % of 32
    assert found["learned"] == (late < 0.5).sum()


def test_recall_starts_stops_and_goes_on(page):
    from playwright.sync_api import expect

    page.evaluate("Object.assign(RECALL, {updates: 50}); FIGURES.recall.go('d=2 k2=3')")
    page.locator("#recall-train").click()
    expect(page.locator("#recall-train")).to_have_text("Train 32 networks")
    assert "of 32 networks have learned" in page.locator("#recall-text").text_content()
    height = (
        "document.querySelector('#recall-plots .{}').getAttribute('d').split(' ').at(-1)".format
    )
    assert page.evaluate(height("tick")) == page.evaluate(
        height("ink")
    )  # the last error, in both curves
    page.locator("#recall-all").click()
    assert page.locator("#recall-train").text_content() == "Stop"
    page.locator("#recall-train").click()
    assert page.evaluate("recall.work") is None
    lags = "[...document.querySelectorAll('#recall-plots .{}')].map((e) => e.dataset.t - e.dataset.s)".format
    assert max(page.evaluate(lags("kept"))) < page.evaluate("recall.state.k2")
    assert set(page.evaluate(lags("framed"))) == {2}


# -- vanishing and exploding ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phi", ["tanh", "sigmoid"])
def test_growth_by_lag_and_its_bound(phi, compute):
    for kind in ("random", "rotation", "run"):
        found = compute(
            "(options) => growth(options)", {"rho": 1.3, "drive": 0.5, "kind": kind, "phi": phi}
        )
        W, h = np.array(found["W_hh"]), np.array(found["h"])[:, 0]
        near(max(abs(np.linalg.eigvals(W))), 1.3, rtol=1e-9)
        near(found["largestStretch"], 1.3 if kind == "rotation" else np.linalg.norm(W, 2))
        slopes = 1 - h**2 if phi == "tanh" else h * (1 - h)
        product, most = np.eye(len(W)), 1 if phi == "tanh" else 0.25
        for lag, value in enumerate(found["by_lag"]):
            near(value, np.linalg.norm(product, 2), lag, rtol=1e-9)
            assert value <= (found["largestStretch"] * most) ** lag * (1 + 1e-9)
            product = W * slopes[len(h) - 1 - lag] @ product


def test_the_examples_of_the_radius_do_what_they_say(page):
    said = page.evaluate("""() => [...document.querySelectorAll("a[href='#live-radius']")].map((link) => {
      link.click();
      return document.getElementById("radius-text").textContent;
    })""")
    assert [("Vanishing is certain" in text) for text in said] == [True, False, False, False]
    ends = [text.rsplit(": ", 1)[1] for text in said]
    assert ends == ["it vanishes.", "it vanishes.", "it explodes.", "it vanishes."]


@pytest.mark.parametrize("max_norm", [None, 0.5])
def test_descent_on_the_cliff_is_that_of_numpy_rnn(max_norm, compute):
    start = {"w": 2.5, "b": 0.5, "rate": 0.5, "steps": 80, "length": 10}
    one, x, target = np.ones((1, 1)), np.zeros((10, 1, 1)), np.full((1, 1, 1), 0.3)
    params = Parameters(0 * one, start["w"] * one, one, np.array([start["b"]]), np.zeros(1))
    for point in compute("([start, max_norm]) => descend(start, max_norm)", [start, max_norm]):
        activations = numpy_rnn.forward(params, x, 0 * one)
        loss = numpy_rnn.half_squared_error(activations.y[-1:], target)
        # Roundings grow by the slope of the cliff at every step that meets it.
        near(
            [point[name] for name in ("w", "b", "loss")],
            [params.W_hh.item(), params.b_h.item(), loss],
            rtol=1e-6,
        )
        gradients = numpy_rnn.bptt(params, activations, target)
        step = numpy_rnn.Gradients(0 * one, gradients.W_hh, 0 * one, gradients.b_h, np.zeros(1))
        step = step if max_norm is None else numpy_rnn.clip_by_global_norm(step, max_norm)
        params = numpy_rnn.sgd(params, step, start["rate"])


def test_the_cliff_shows_both_paths_from_a_start_that_moves(page):
    page.evaluate("FIGURES.cliff.go('')")
    across, down, *bounds = page.evaluate("[CLIFF.across, CLIFF.down, ...CLIFF.w, ...CLIFF.b]")
    image = f"element('cliff-canvas').getContext('2d').getImageData(0, 0, {across}, {down})"
    greens = np.array(
        page.evaluate(f"{image}.data.filter((_, i) => i % 4 === 1).join()").split(","), int
    )
    w, b = (low + (np.arange(n) + 0.5) / n * (high - low)
            for n, low, high in ((across, *bounds[:2]), (down, *bounds[2:])))  # fmt: skip
    h = 0
    for _ in range(10):
        h = np.tanh(w * h + b[::-1, None])
    assert (
        np.diff(greens[abs(h - 0.3).argsort(axis=None)]) >= 0
    ).all()  # green grows along the scale of colours
    paths = "[...document.querySelectorAll('#cliff-paths .under')].map((path) => path.getAttribute('d'))"
    plain_path, clipped_path = page.evaluate(paths)
    assert plain_path.split("L")[0] == clipped_path.split("L")[0]
    assert plain_path != clipped_path
    page.locator("#cliff-paths").click(position={"x": 200, "y": 100})
    assert page.evaluate("FIGURES.cliff.state.w !== 2.5 && FIGURES.cliff.state.b !== 0.5")
