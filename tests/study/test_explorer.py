"""The explorer in headless Chromium: its numbers are those of numpy_rnn, and its controls show them."""

import json
import re
from functools import cache

import numpy as np
import pytest
from study_components import components_by_complex_step
from study_runs import near, small

import numpy_rnn
from numpy_rnn import Activations, Parameters, windows

pytestmark = [pytest.mark.needs_matplotlib, pytest.mark.slow]

T = 6
RUNS = {
    "sine": {"epochs": 3},
    "relu": {"epochs": 1, "nonlinearity": "relu", "hidden_size": 8, "momentum": 0.9},
    "everything": {
        "epochs": 2, "hidden_size": 3, "bias": True, "reduction": "mean", "learn_initial_state": True, "k1": 2, "k2": 3,
        "learning_rate": 0.05, "max_norm": 0.02, "weight_decay": 0.01, "momentum": 0.5, "nesterov": True,
    },
}  # fmt: skip
COMPUTED = """(states) => { use("full"); return JSON.stringify(states.map(([epoch, k1, k2, update, uncut, rate]) => {
  Object.assign(shown, {epoch, k1, k2, update, uncut, rate});
  shown.moment = momentsNow().length - 1;
  const now = current(), {activations: {a, h, y}, flow, first, window} = now, {delta, after, losses} = stepOf(now);
  return {a, h, y, ...flow, window, first, gradients: {delta, after, gradient: gradientSoFar(now),
    sum: gradientSum(now.p, now.activations, flow, first, window.stop)}, losses, words: stepInWords(now)};
})); }"""
COSTS = """([epoch, pairs]) => { use("full"); const seen = computed(run.snapshots.at(epoch));
  return {norms: seen.norm, costs: pairs.map(([k1, k2]) => costAt(seen, k1, k2))}; }"""
MASK = """() => ({
  kept: [...document.querySelectorAll("#mask .kept")].map((cell) => [Number(cell.dataset.t), Number(cell.dataset.s)]),
  numbers: [...document.querySelectorAll("#numbers tbody tr")].map((row) => [...row.querySelectorAll("td")]
    .map((cell) => cell.textContent).filter((text) => text)),
})"""


@pytest.fixture(scope="module")
def page_of(live_page):
    """Opens the explorer of a run, without the other sections; and the run."""

    @cache
    def opened(name):
        subject = small(T, 1, **RUNS[name])
        return live_page("0_explore", subject=subject), subject

    return opened


def updates_of_all_truncations(epochs):
    """(epoch, k1, k2, update, uncut, η) of every update of every truncation, the others in turn."""
    pairs = [(k1, k2) for k1 in range(1, T + 1) for k2 in range(k1, T + 1)]
    states = [(k1, k2, n) for k1, k2 in pairs for n in range(1, -(-T // k1) + 1)]
    return [(i % epochs, *state, i // epochs % 2, (0.01, 3.0)[i % 2]) for i, state in enumerate(states)]


def expected(subject, epoch, k1, k2, number, uncut, rate):
    """One update as numpy_rnn computes it, by name; without the cut, its window begins at step 1."""
    objective, step, whole = subject.options.objective, subject.options.step, subject.snapshots[epoch].params
    start, loss_start, stop = window = list(windows(T, k1, k2))[number - 1]
    start = 0 if uncut else start
    params, target = whole if start == 0 else whole._replace(h_0=None), subject.target[loss_start:stop]
    options = {"nonlinearity": objective.nonlinearity}
    x, a, h, y = numpy_rnn.forward(whole, subject.x, subject.initial_state(whole), **options)
    activations = Activations(x[start:stop], a[start:stop], h[start : stop + 1], y[start:stop])
    reduced = {**options, "reduction": objective.reduction}
    total = gradient = numpy_rnn.bptt(params, activations, target, **reduced)
    if step.max_norm is not None:
        gradient = numpy_rnn.clip_by_global_norm(total, step.max_norm)
    momentum = {name: getattr(step, name) for name in ("momentum", "nesterov", "weight_decay")}
    delta, _ = numpy_rnn.direction(params, gradient, **momentum)
    after = numpy_rnn.sgd(params, delta, rate)
    again = numpy_rnn.forward(after, x[start:stop], h[start] if after.h_0 is None else after.h_0, **options)
    losses = [
        numpy_rnn.half_squared_error(of.y[-len(target) :], target, reduction=objective.reduction)
        for of in (activations, again)
    ]
    flow = numpy_rnn.adjoints(params, activations, target, **reduced)
    return window, start, (a, h, y), flow, {"sum": total, "gradient": gradient, "delta": delta, "after": after}, losses


def same(found, expected):
    """Equal to rounding, relative to the largest number; 1e-12 leaves room for a thousand operations."""
    expected = np.asarray(expected)
    atol = 1e-12 * np.abs(expected).max(initial=1e-290)
    np.testing.assert_allclose(np.asarray(found, float), expected, rtol=0, atol=atol)


def same_parameters(found, expected):
    expected = {name: theta for name, theta in expected._asdict().items() if theta is not None}
    assert {name for name, theta in found.items() if theta is not None} == set(expected)
    for name, value in expected.items():
        same(found[name], value)


@pytest.mark.parametrize("name", RUNS)
def test_the_numbers_of_the_explorer_are_those_of_numpy_rnn(name, page_of):
    """Forward pass, gradient and step of every update, and the words about steps that raise their loss."""
    page, subject = page_of(name)
    states, raised = updates_of_all_truncations(len(subject.snapshots)), 0
    for state, result in zip(states, json.loads(page.evaluate(COMPUTED, states)), strict=True):
        window, start, (a, h, y), flow, gradients, losses = expected(subject, *state)
        assert (result["first"], result["window"]) == (start + 1, dict(zip(("start", "lossStart", "stop"), window)))
        for quantity, values in (("a", a), ("y", y)):
            same(result[quantity][1:], values)
        same(result["h"], h)
        for quantity in ("dy", "dh", "da"):
            same(result[quantity][start + 1 : window.stop + 1], getattr(flow, quantity))
        for key, values in gradients.items():
            same_parameters(result["gradients"][key], values)
        same(result["losses"], losses)
        before, after = losses
        first_order = state[-1] * sum(
            np.vdot(d, e) for d, e in zip(gradients["sum"], gradients["delta"]) if d is not None
        )
        assert ("too large" in result["words"]) == (after > before and first_order > 0)
        raised += "too large" in result["words"]
    assert raised or name == "everything"  # whose steps are clipped


@pytest.mark.parametrize("name", RUNS)
def test_components_and_their_costs_are_those_of_the_complex_step(name, page_of):
    page, subject = page_of(name)
    pairs = [(1, 1), (1, 3), (2, 4), (T, T)]
    for epoch in (0, -1):
        params = subject.snapshots[epoch].params
        count = sum(theta.size for theta in params if theta is not None)
        options = params, subject.x, subject.target, subject.initial_state(params), subject.nonlinearity
        columns = [components_by_complex_step(*options, s, np.arange(count)) for s in range(1, T + 1)]
        G = np.stack(columns, axis=1)
        result = page.evaluate(COSTS, [epoch, pairs])
        norms = [v for row in result["norms"][1:] for v in row[1:]]
        near(norms, np.linalg.norm(G, axis=-1)[np.tril_indices(T)])
        full = G.sum((0, 1))
        for (k1, k2), cost in zip(pairs, result["costs"], strict=True):
            kept = sum(
                G[t, s] for w in windows(T, k1, k2) for t in range(w.loss_start, w.stop) for s in range(w.start, t + 1)
            )
            near(cost["cosine"], kept @ full / np.linalg.norm(kept) / np.linalg.norm(full))
            near(cost["bias"], np.linalg.norm(kept - full) / np.linalg.norm(full))


def test_the_small_network_is_the_first_and_is_trained(page_of):
    """By full BPTT: numpy_rnn trains to the same weights."""
    page, _ = page_of("sine")
    page.reload()
    assert page.evaluate("[shown.size, shown.epoch, T, H]") == ["small", 0, 3, 2]
    seen = page.evaluate("RUNS.small.snapshots.map(({epoch, parameters}) => ({epoch, ...parameters}))")
    params = Parameters(*(None if seen[0][name] is None else np.array(seen[0][name]) for name in Parameters._fields))
    x, target = (np.array([rows], float).reshape(3, 1, 1) for rows in ([0.9, 0.7, 0.3], [0.7, 0.3, -0.1]))
    options = {"k1": 3, "k2": 3, "learning_rate": 0.2, "epochs": seen[-1]["epoch"]}
    *_, last = numpy_rnn.train(params, x, target, np.zeros((1, 2)), **options)
    same_parameters({name: seen[-1][name] for name in Parameters._fields}, last.parameters)


def test_sliders_keys_and_links_lead_to_the_same_view(page_of):
    from playwright.sync_api import expect

    page, _ = page_of("sine")
    values = "() => ['epoch', 'k1', 'k2', 'update'].map((id) => Number(document.getElementById(id).value))"
    moment = "() => document.getElementById('moment-output').textContent.split(': ')[1]"
    page.locator("#size-full").click()
    page.evaluate("change({epoch: 1, k2: 5, k1: 2, update: 2, moment: 3})")
    page.locator("#k1").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate(values)[:3] == [1, 3, 5]
    page.locator("#mask").focus()
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    assert page.evaluate(values)[:3] == [1, 2, 2]  # k1 never exceeds k2
    page.evaluate("change({k1: 1, k2: 2, update: 6})")
    page.locator("#mask .component[data-t='6'][data-s='2'] .hit").dispatch_event("click")  # one that is cut
    assert page.evaluate(moment) == "da2"
    assert page.locator("#uncut").is_checked()
    new = [(start, t) for start, loss_start, stop in windows(T, 1, 2) for t in range(loss_start + 1, stop + 1)]
    assert sorted(page.evaluate(MASK)["kept"]) == [[t, s] for start, t in new for s in range(start + 1, t + 1)]
    page.evaluate("location.hash = '#explore/size=full&epoch=3&k1=1&k2=3&update=4&at=dh_3&rate=0.5'")
    expect(page.locator("#moment-output")).to_have_text(re.compile("dh3$"))
    assert page.evaluate(values) == [3, 1, 3, 4]
    assert not page.locator("#uncut").is_checked()  # the address says nothing of it, so it is as at first
    assert page.locator("#rate-output").text_content() == "0.50"
    page.locator("#forward").click()
    assert page.evaluate(moment) == "da3"
    assert len(page.evaluate(MASK)["numbers"][-1]) == 6
    page.locator("a[data-set='size=full k1=1 k2=1']").click()
    assert (page.evaluate(values)[:3], page.locator("#rate-output").text_content()) == ([3, 1, 1], "0.10")
    page.locator("#update").press("End")
    page.locator("#moment").press("End")
    page.locator("#rate").press("End")
    assert page.locator("#rate-output").text_content() == "1.0"
    assert page.locator("#curves .curve").count() == 1  # of the loss by η
    hidden = (
        "() => { const e = document.getElementById('numbers').parentElement; return e.scrollHeight - e.clientHeight; }"
    )
    assert page.evaluate(hidden) <= 0  # every row is in sight
