"""The explorer in headless Chromium: its numbers are those of numpy_rnn, and its controls show them."""

import numpy as np
import pytest
from study_runs import near, small

import numpy_rnn
from numpy_rnn import Activations, Parameters, windows
from numpy_rnn.study.components.jacobians import jacobians, slopes
from numpy_rnn.study.components.measures import explorer
from numpy_rnn.study.page import page as pages
from numpy_rnn.study.page.document import equation
from numpy_rnn.study.page.formulas import formula

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
COMPUTED = """(states) => states.map(([epoch, k1, k2, update, uncut]) => {
  Object.assign(shown, {epoch, k1, k2, update, uncut});
  shown.moment = momentsNow().length - 1;
  const now = current(), {activations: {a, h, y}, flow, first, window} = now;
  return {a, h, y, ...flow, window, first, step: stepOf(now), gradient: gradientSoFar(now),
    sum: gradientSum(now.p, now.activations, flow, first, window.stop)};
})"""
MASK = """() => ({
  kept: [...document.querySelectorAll("#mask .kept")].map((cell) => [Number(cell.dataset.t), Number(cell.dataset.s)]),
  cosine: document.getElementById("cosine").textContent, bias: document.getElementById("bias").textContent,
  numbers: [...document.querySelectorAll("#numbers tbody tr")].map((row) => [...row.querySelectorAll("td")]
    .map((cell) => cell.textContent).filter((text) => text)),
})"""


@pytest.fixture(scope="module")
def page_of(new_page, tmp_path_factory):
    """Opens the figures of a run that move alone, without the other sections; and the run, and what the page reads."""

    def opened(name):
        subject = small(T, 1, **RUNS[name])
        data, path = explorer(subject), tmp_path_factory.mktemp("page") / "page.html"
        texts = {
            name: (pages.HERE / f"sections/{name}.html").read_text(encoding="utf-8")
            for name in ("0_explore", "4b_live")
        }
        values = {"explorer": data, "components": {"networks": 32}}
        inserts = {"equation": equation, "formula": formula, "reference": str}
        path.write_text(pages.assembled(texts, values, inserts), encoding="utf-8")
        return new_page(path), subject, data

    return opened


def updates_of_all_truncations(epochs):
    """(epoch, k1, k2, update, uncut) of every update of every truncation, epochs and the cut in turn."""
    pairs = [(k1, k2) for k1 in range(1, T + 1) for k2 in range(k1, T + 1)]
    states = [(k1, k2, n) for k1, k2 in pairs for n in range(1, -(-T // k1) + 1)]
    return [(i % epochs, *state, i // epochs % 2) for i, state in enumerate(states)]


def expected(subject, epoch, k1, k2, number, uncut):
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
    after = numpy_rnn.sgd(params, delta, step.learning_rate)
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
        same(found[name], value[0] if name == "h_0" else value)


@pytest.mark.parametrize("name", RUNS)
def test_the_numbers_of_the_explorer_are_those_of_numpy_rnn(name, page_of):
    """Forward pass, gradient and step of every update, the masks and their costs, and the network that is scaled."""
    page, subject, data = page_of(name)
    states = updates_of_all_truncations(len(subject.snapshots))
    for state, result in zip(states, page.evaluate(COMPUTED, states), strict=True):
        window, start, (a, h, y), flow, gradients, losses = expected(subject, *state)
        assert (result["first"], result["window"]) == (start + 1, dict(zip(("start", "lossStart", "stop"), window)))
        for quantity, values in (("a", a[:, 0]), ("y", y[:, 0])):
            same(result[quantity][1:], values)
        same(result["h"], h[:, 0])
        for quantity in ("dy", "dh", "da"):
            same(result[quantity][start + 1 : window.stop + 1], getattr(flow, quantity)[:, 0])
        for key, values in {**result["step"], "sum": result["sum"], "gradient": result["gradient"]}.items():
            if key in gradients:
                same_parameters(values, gradients[key])
        same(result["step"]["losses"], losses)

    for k1, k2 in ((1, 1), (1, 3), (2, 4), (T, T)):
        page.evaluate("([k1, k2]) => change({epoch: 1, k1, k2, update: 1, moment: 0, uncut: 0})", [k1, k2])
        shown = page.evaluate(MASK)
        new = [(start, t) for start, loss_start, stop in windows(T, k1, k2) for t in range(loss_start + 1, stop + 1)]
        assert sorted(shown["kept"]) == [[t, s] for start, t in new for s in range(start + 1, t + 1)]
        for kind in ("cosine", "bias"):
            value = float(f"{data['snapshots'][1][kind][k1 - 1][k2 - k1]:.3e}")
            assert float(shown[kind].replace("−", "-")) == value

    for epoch, factor in ((0, 1.0), (-1, 3.0)):
        params = subject.snapshots[epoch].params
        scaled = "([epoch, factor]) => scaled(data.snapshots.at(epoch).parameters, factor)"
        result = page.evaluate(scaled, [epoch, factor])
        params, options = params._replace(W_hh=factor * params.W_hh), {"nonlinearity": subject.nonlinearity}
        activations = numpy_rnn.forward(params, subject.x, subject.initial_state(params), **options)
        h = activations.h[:, 0]
        same(result["h"], h)
        same(result["slopes"], slopes(h[1:], **options))
        for values, matrix in zip(result["singular"], jacobians(params.W_hh, h, **options)[-1, ::-1], strict=True):
            same(values, np.linalg.svd(matrix, compute_uv=False))
        da = numpy_rnn.adjoints(params, activations, subject.target[-1:], **options).da[::-1, 0]
        same(result["norms"], np.linalg.norm(da, axis=-1))


@pytest.mark.parametrize("max_norm", [None, 0.5])
def test_descent_on_the_cliff_is_that_of_numpy_rnn(max_norm, page_of):
    page, *_ = page_of("sine")
    start = {"w": 2.5, "b": 0.5, "rate": 0.5, "steps": 80, "length": 10}
    path = page.evaluate("([start, max_norm]) => descend(start, max_norm)", [start, max_norm])
    one, x = np.ones((1, 1)), np.zeros((10, 1, 1))
    params = Parameters(0 * one, start["w"] * one, one, np.array([start["b"]]), np.zeros(1))
    for point in path:
        activations = numpy_rnn.forward(params, x, 0 * one)
        target = np.full((1, 1, 1), 0.3)
        loss = numpy_rnn.half_squared_error(activations.y[-1:], target)
        gradients = numpy_rnn.bptt(params, activations, target)
        # Roundings grow by the slope of the cliff at every step that meets it.
        near([point[name] for name in ("w", "b", "loss")], [params.W_hh.item(), params.b_h.item(), loss], rtol=1e-6)
        zero = numpy_rnn.Gradients(*map(np.zeros_like, params[:5]))
        step = zero._replace(W_hh=gradients.W_hh, b_h=gradients.b_h)
        step = step if max_norm is None else numpy_rnn.clip_by_global_norm(step, max_norm)
        params = numpy_rnn.sgd(params, step, start["rate"])


def test_sliders_keys_and_links_lead_to_the_same_view(page_of):
    page, *_ = page_of("sine")
    values = "() => ['epoch', 'k1', 'k2', 'update'].map((id) => Number(document.getElementById(id).value))"
    moment = "() => document.getElementById('moment-output').textContent.split(': ')[1]"
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
    assert page.evaluate(moment) == "da_2"
    assert page.locator("#uncut").is_checked()
    page.evaluate("location.hash = '#explore/epoch=3&k1=1&k2=3&update=4&at=dh_3'")
    page.wait_for_timeout(100)
    assert (page.evaluate(values), page.evaluate(moment)) == ([3, 1, 3, 4], "dh_3")
    page.locator("#forward").click()
    assert page.evaluate(moment) == "da_3"
    rows = page.evaluate(MASK)["numbers"]
    assert len(rows[-1]) == 6
