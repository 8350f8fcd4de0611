"""The explorer in headless Chromium: it computes what numpy_rnn computes, and shows it."""

import re

import numpy as np
import pytest
from study_explorer import IN_BROWSER, READ, SET, SETTINGS, Expected, T, choose

import numpy_rnn
from numpy_rnn import Gradients, Parameters, windows
from numpy_rnn.sgd import sgd
from numpy_rnn.study.components.jacobians import jacobians, slopes, spectral_radius

pytestmark = [pytest.mark.needs_matplotlib, pytest.mark.slow, IN_BROWSER]

EQUATIONS = {"h": "F2", "a": "F1", "y": "F3", "loss": "L1", "dy": "B1", "dh": "B2", "da": "B3"}
WALK = f"() => current().moments.map((_, moment) => {{ change({{moment}}); return ({READ})(); }})"
COMPUTED = """(states) => states.map(([epoch, k1, k2, update, uncut]) => {
  Object.assign(shown, {epoch, k1, k2, update, uncut});
  shown.moment = momentsNow().length - 1;
  const now = current(), {activations: {a, h, y}, flow, first, window} = now;
  return {a, h, y, ...flow, window, first, step: stepOf(now), gradient: gradientSoFar(now),
    sum: gradientSum(now.p, now.activations, flow, first, window.stop)};
})"""
MASKS = f"""(truncations) => truncations.map(([epoch, k1, k2]) => {{
  ({SET})({{epoch}}), ({SET})({{k1}}), ({SET})({{k2}});
  return {{
    kept: [...document.querySelectorAll("#mask .kept")].map((cell) => [Number(cell.dataset.t), Number(cell.dataset.s)]),
    all: document.querySelectorAll("#mask .kept, #mask .cut").length,
    ...Object.fromEntries(["kept", "all-components", "cosine", "bias"].map((id) =>
      [`#${{id}}`, document.getElementById(id).textContent])),
  }};
}})"""


def read(text):
    """A number as the page writes it."""
    return float(text.replace("−", "-"))


def as_written(value):
    """A number of which the page shows four digits."""
    return float(f"{value:.3e}")


def present(params):
    return {name: theta for name, theta in params._asdict().items() if theta is not None}


def assert_same(result, expected):
    """Arrays are equal to rounding, relative to the largest number; 1e-12 leaves room for a thousand operations."""
    result, expected = np.asarray(result, float), np.asarray(expected)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-12 * np.abs(expected).max(initial=1e-290))


def assert_same_parameters(result, expected):
    expected = present(expected)
    assert {name for name, theta in result.items() if theta is not None} == set(expected)
    for name, value in expected.items():
        assert_same(result[name], value[0] if name == "h_0" else value)


def updates_of_all_truncations(epochs):
    """(epoch, k1, k2, update, uncut) of every update of every truncation, epochs and the cut in turn."""
    pairs = [(k1, k2) for k1 in range(1, T + 1) for k2 in range(k1, T + 1)]
    states = [(k1, k2, n) for k1, k2 in pairs for n in range(1, -(-T // k1) + 1)]
    return [(i % epochs, *state, i // epochs % 2) for i, state in enumerate(states)]


@pytest.mark.parametrize("name", SETTINGS)
def test_forward_gradient_and_step_are_those_of_numpy_rnn(name, shared, settings):
    setting = settings[name]
    states = updates_of_all_truncations(len(setting.snapshots))
    states = states if name == "two series" else states[::3]  # it has all options that change an update
    for state, result in zip(states, shared[name].evaluate(COMPUTED, states), strict=True):
        update = Expected(setting, *state)
        first, stop = update.start + 1, update.window.stop
        assert (result["first"], result["window"]) == (first, dict(zip(("start", "lossStart", "stop"), update.window)))
        for quantity in ("a", "y"):
            assert_same(result[quantity][1:], getattr(update.all, quantity)[:, 0])
        assert_same(result["h"], update.all.h[:, 0])
        for quantity in ("dy", "dh", "da"):
            assert_same(result[quantity][first : stop + 1], getattr(update.adjoints, quantity)[:, 0])
        assert_same_parameters(result["sum"], update.sum)
        assert_same_parameters(result["gradient"], update.gradient)
        assert_same_parameters(result["step"]["delta"], update.direction)
        assert_same_parameters(result["step"]["after"], update.after)
        assert_same(result["step"]["losses"], update.losses)


@pytest.mark.parametrize("name", SETTINGS)
def test_scaled_networks_are_those_of_numpy_rnn(name, shared, settings, numbers):
    setting = settings[name]
    for epoch, factor in ((0, 1.0), (-1, 0.1), (0, 3.0), (-1, 10.0)):
        params = setting.snapshots[epoch].params
        scaled = "([epoch, factor]) => scaled(data.snapshots.at(epoch).parameters, factor)"
        result = shared[name].evaluate(scaled, [epoch, factor])
        params = params._replace(W_hh=factor * params.W_hh)
        options = {"nonlinearity": setting.configuration.nonlinearity}
        activations = numpy_rnn.forward(params, setting.x, setting.h_0 if params.h_0 is None else params.h_0, **options)
        h = activations.h[:, 0]
        assert_same(result["h"], h)
        assert_same(result["slopes"], slopes(h[1:], **options))
        J = jacobians(params.W_hh, h, **options)[-1, ::-1]
        for values, matrix in zip(result["singular"], J, strict=True):
            assert_same(values, np.linalg.svd(matrix, compute_uv=False))
        da = numpy_rnn.adjoints(params, activations, setting.target[-1:], **options).da[::-1, 0]
        assert_same(result["norms"], np.linalg.norm(da, axis=-1))
        radius = numbers[name]["snapshots"][epoch]["spectral_radius"]
        assert radius * factor == pytest.approx(spectral_radius(params.W_hh), rel=1e-6)


@pytest.mark.parametrize("max_norm", [None, 0.5])
def test_descent_on_the_surface_is_that_of_numpy_rnn(max_norm, sine):
    start, length = {"w": 2.5, "b": 0.5, "rate": 0.5, "steps": 80, "length": 10}, 10
    path = sine.evaluate("([start, max_norm]) => descend(start, max_norm)", [start, max_norm])
    target = np.full((1, 1, 1), 0.3)
    params = Parameters(np.zeros((1, 1)), np.full((1, 1), 2.5), np.ones((1, 1)), np.full(1, 0.5), np.zeros(1))
    for point in path:
        activations = numpy_rnn.forward(params, np.zeros((length, 1, 1)), np.zeros((1, 1)))
        gradients = numpy_rnn.bptt(params, activations, target)
        norm = np.hypot(gradients.W_hh.item(), gradients.b_h.item())
        loss = numpy_rnn.half_squared_error(activations.y[-1:], target)
        # Roundings grow by the slope of the cliff at every step that meets it.
        for key, value in {"w": params.W_hh.item(), "b": params.b_h.item(), "loss": loss, "norm": norm}.items():
            assert point[key] == pytest.approx(value, rel=1e-6, abs=1e-9), key
        of_surface = sine.evaluate(f"surfaceLoss({point['w']}, {point['b']}, {length})")
        assert of_surface == pytest.approx(point["loss"], rel=1e-12)
        factor = 1 if max_norm is None else min(1, max_norm / (norm + 1e-6))
        moved = {"W_hh": factor * gradients.W_hh, "b_h": factor * gradients.b_h}
        s = Gradients(*map(np.zeros_like, params[:5]))._replace(**moved)
        params = sgd(params, s, start["rate"])
    far, near = abs(path[-1]["b"]) > 10, path[-1]["loss"] < 0.3
    assert (far, near) == ((True, False) if max_norm is None else (False, True))


def expected_rows(update, setting, what, t, so_far):
    """The rows of numbers of a moment; those in bold, which are made, are the last, or of every parameter the last."""
    p, start, stop = update.params, update.start, update.window.stop
    x, a, h, y, target = (values[:, 0] for values in (*update.all, setting.target))
    error = y[t - 1] - target[t - 1]
    biases = {name: [] if getattr(p, name) is None else [getattr(p, name)] for name in ("b_h", "b_y")}
    rows = {
        "enter": [h[t]],
        "a": [x[t - 1] @ p.W_xh, h[t - 1] @ p.W_hh, *biases["b_h"], a[t - 1]],
        "h": [a[t - 1], h[t]],
        "y": [h[t] @ p.W_hy, *biases["b_y"], y[t - 1]],
        "loss": [y[t - 1], target[t - 1], error, [0.5 * (error**2).sum()]],
    }
    if what in rows:
        return rows[what]
    dy, dh, da = (getattr(update.adjoints, name)[t - 1 - start, 0] for name in ("dy", "dh", "da"))
    later = update.adjoints.da[t - start, 0] @ p.W_hh.T if t < stop else []
    rows = {
        "dy": [y[t - 1], target[t - 1], [update.N], dy],
        "dh": [dy @ p.W_hy.T, later, dh],
        "da": [dh, slopes(h[t : t + 1], setting.configuration.nonlinearity)[0], da],
    }
    if what in rows:
        return rows[what]

    def shown(name, *values):
        """The second row of a matrix that has more than one."""
        return [v.ravel() if v.ndim == 1 or name == "h_0" else v[min(1, len(v) - 1)] for v in values]

    if what == "dW":
        dh_0 = da @ p.W_hh.T if t == 1 else np.zeros(len(p.W_hh))
        of_matrices = np.outer(x[t - 1], da), np.outer(h[t - 1], da), np.outer(h[t], dy)
        terms = Gradients(*of_matrices, da, dy, dh_0)._asdict()
        for name in present(p):
            so_far[name] = so_far.get(name, 0) + terms[name]
        return [row for name in present(p) for row in shown(name, terms[name], so_far[name])]
    if what == "clip":
        pairs = [(name, getattr(update.sum, name), getattr(update.gradient, name)) for name in present(p)]
        norms = [np.sqrt(sum((theta**2).sum() for theta in side)) for side in list(zip(*pairs))[1:]]
        return [norms, *(row for pair in pairs for row in shown(*pair))]
    rate, moved = setting.configuration.learning_rate, (p, update.direction, update.after)
    steps = [(name, *(getattr(of, name) for of in moved)) for name in present(p)]
    return [row for name, theta, delta, after in steps for row in shown(name, theta, -rate * delta, after)]


def expected_moments(update, clips):
    """(what, t) of an update in the order in which it computes."""
    start, loss_start, stop = update.window
    yield "enter", start
    for t in range(start + 1, stop + 1):
        yield from ((what, t) for what in ("a", "h", "y"))
        if t > loss_start:
            yield "loss", t
    back = range(stop, update.start, -1)
    yield from ((what, t) for t in back for what in ("dy", "dh", "da"))
    yield from (("dW", t) for t in back)
    yield from ((what, stop) for what in (["clip"] if clips else []) + ["step"])


BACKWARD = ("dy", "dh", "da")
FRAMED = {"loss", "dy", "dh", "da", "dW", "clip", "step"}
LETTERS = {"loss": "ℓ", "enter": "h"}
ENDS = {"clip": "clipping", "step": "the step"}


@pytest.mark.parametrize(
    ("name", "pair", "uncut"), [("sine", (2, 4), 1), ("two series", (3, 5), 0), ("relu", (1, 3), 0)]
)
def test_every_moment_of_every_update_shows_its_numbers(name, pair, uncut, shared, settings):
    page, setting, epoch = shared[name], settings[name], 1
    choose(page, epoch=epoch, k1=pair[0], k2=pair[1], uncut=bool(uncut))
    page.evaluate("change({row: 2})")
    for n, window in enumerate(windows(T, *pair), start=1):
        choose(page, update=n)
        update, so_far = Expected(setting, epoch, *pair, n, uncut), {}
        moments = list(expected_moments(update, "max_norm" in SETTINGS[name]))
        seen = set()
        for i, ((what, t), shown) in enumerate(zip(moments, page.evaluate(WALK), strict=True)):
            assert shown["moment"] == f"{i} of {len(moments) - 1}: {ENDS.get(what, f'{LETTERS.get(what, what)}_{t}')}"
            if what in EQUATIONS:
                assert shown["equations"] == [EQUATIONS[what]]
            rows = expected_rows(update, setting, what, t, so_far)
            for (label, cells, _), row in zip(shown["rows"], rows, strict=True):
                if len(row):
                    assert [read(cell) for cell in cells] == [as_written(v) for v in row], (what, t, label)
                else:
                    assert cells == ["none: the window has no later step"]
            assert shown["rows"][-1][2] == "made"
            seen.add(f"{what} {t}")
            inside = {f"{q} {u}" for q, u in map(str.split, seen) if q in EQUATIONS and int(u) > window.start}
            computed = {cell for cell in shown["computed"] if not cell.startswith(("x", "target"))}
            assert {cell for cell in computed if int(cell.split()[1]) > window.start} == inside
            beyond = {f"{q} {u}" for q, u in map(str.split, seen) if q in BACKWARD and int(u) <= window.start}
            assert set(shown["beyond"]) == beyond
            assert ("Beyond the cut" in shown["summary"]) == (what in (*BACKWARD, "dW") and t <= window.start)
            assert shown["added"] == 3 * sum(step == "dW" for step, _ in moments[: i + 1])
            losses = range(window.loss_start + 1, window.stop + 1)
            components = [[u, s] for u in losses for s in range(update.start + 1, u + 1)]
            if what in ("loss", "dy"):
                components = [[u, s] for u, s in components if u == t]
            elif what in ("dh", "da", "dW"):
                components = [[u, s] for u, s in components if s == t]
            assert shown["framed"] == (components if what in FRAMED else [])
        final = page.locator("#summary").text_content()
        before, after = (str(as_written(v)) for v in update.losses)
        words = [word.strip(".") for word in final.replace("−", "-").split()]
        assert {before, after} <= {str(float(word)) for word in words if re.fullmatch(r"[\d.]+(e-?\d+)?", word)}
    page.evaluate("change({row: 1})")


@pytest.mark.parametrize("name", ["sine", "two series"])
def test_every_mask_is_the_schedule_and_has_its_cost(name, shared, numbers):
    page, snapshots = shared[name], numbers[name]["snapshots"]
    pairs = [(k1, k2) for k2 in range(1, T + 1) for k1 in range(1, k2 + 1)]
    chosen = [(i % len(snapshots), k1, k2) for i, (k1, k2) in enumerate(pairs)]
    for (epoch, k1, k2), result in zip(chosen, page.evaluate(MASKS, chosen), strict=True):
        new = [(start, t) for start, loss_start, stop in windows(T, k1, k2) for t in range(loss_start + 1, stop + 1)]
        kept = [[t, s] for start, t in new for s in range(start + 1, t + 1)]
        assert sorted(result["kept"]) == kept
        assert result["all"] == T * (T + 1) // 2
        assert (result["#kept"], result["#all-components"]) == (str(len(kept)), str(result["all"]))
        for kind in ("cosine", "bias"):
            assert read(result[f"#{kind}"]) == as_written(snapshots[epoch][kind][k1 - 1][k2 - k1])


def test_the_epoch_changes_what_is_said_of_it(sine, numbers):
    for i, seen in enumerate(numbers["sine"]["snapshots"]):
        choose(sine, epoch=i)
        words = sine.locator("#state").text_content().replace(",", "").replace(")", "").split()
        assert words[:4] == ["Weights", "after", "epoch", str(seen["epoch"])]
        for word, key in {"(loss": "loss", "norm": "gradient_norm", "W_hh": "spectral_radius"}.items():
            assert read(words[words.index(word) + 1].strip(".")) == as_written(seen[key])
