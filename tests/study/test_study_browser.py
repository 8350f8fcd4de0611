"""The page in a real browser, headless Chromium: it computes what numpy_rnn computes, and shows it."""

import importlib.util
import shutil

import numpy as np
import pytest

import numpy_rnn
from numpy_rnn import Activations, Gradients, Parameters, windows
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import prepare
from numpy_rnn.clipping import clip_by_global_norm
from numpy_rnn.momentum import direction
from numpy_rnn.sgd import sgd
from numpy_rnn.study.components.jacobians import jacobians, slopes, spectral_radius
from numpy_rnn.study.components.measures import explorer
from numpy_rnn.study.figures.svg import Picture
from numpy_rnn.study.page import page as pages
from numpy_rnn.study.setting import setting_of
from numpy_rnn.study.study import DRAWINGS, findings_of, tables_of

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MISSING = [
    what
    for what, there in (
        ("Chromium", CHROMIUM),
        ("the package playwright", importlib.util.find_spec("playwright")),
        ("the package axe-playwright-python", importlib.util.find_spec("axe_playwright_python")),
    )
    if not there
]
pytestmark = [
    pytest.mark.needs_matplotlib,
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"the page is not tested in a browser: no {' and no '.join(MISSING)}"),
]

T = 7
EQUATIONS = {"h": "F2", "a": "F1", "y": "F3", "loss": "L1", "dy": "B1", "dh": "B2", "da": "B3"}
SETTINGS = {
    "sine": {"epochs": 3},
    "two series": {
        "epochs": 2,
        "hidden_size": 3,
        "bias": True,
        "reduction": "mean",
        "learn_initial_state": True,
        "k1": 2,
        "k2": 3,
        "learning_rate": 0.05,
        "max_norm": 0.02,
        "weight_decay": 0.01,
        "momentum": 0.5,
        "nesterov": True,
    },
    "relu": {"epochs": 1, "nonlinearity": "relu", "hidden_size": 8, "momentum": 0.9},
}

VALUES = """() => Object.fromEntries(["epoch", "k1", "k2", "update", "moment"].map((id) =>
  [id, Number(document.getElementById(id).value)]))"""
SET = """(sliders) => Object.entries(sliders).forEach(([slider, value]) => {
  const input = document.getElementById(slider);
  if (input.type === "checkbox") { if (input.checked !== value) input.click(); return; }
  input.value = value;
  input.dispatchEvent(new Event("input", {bubbles: true}));
})"""
READ = """() => ({
  moment: document.getElementById("moment-output").textContent,
  summary: document.getElementById("summary").textContent,
  equations: [...document.querySelectorAll("#detail [data-equation]")].filter((e) => !e.hidden)
    .map((e) => e.dataset.equation),
  rows: [...document.querySelectorAll("#numbers tbody tr")].map((row) => [row.querySelector("th").textContent,
    [...row.querySelectorAll("td")].map((cell) => cell.textContent).filter((text) => text), row.className]),
  computed: [...document.querySelectorAll("#steps g.cells")].map((g) => `${g.dataset.name} ${g.dataset.t}`),
  beyond: [...document.querySelectorAll("#steps g.beyond")].map((g) => `${g.dataset.name} ${g.dataset.t}`),
  added: [...document.querySelectorAll("#steps .entry.added")].length,
  framed: [...document.querySelectorAll("#mask .framed")].map((e) => [Number(e.dataset.t), Number(e.dataset.s)]),
})"""
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
TOO_WIDE = """() => [...document.querySelectorAll(".wide:has(> table)")].filter((e) => e.scrollWidth > e.clientWidth)
  .map((e) => e.textContent.slice(0, 40))"""


# -- the run, the browser -------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def settings(tmp_path_factory):
    """The settings that are looked at, by name."""
    path = tmp_path_factory.mktemp("series") / "two.csv"
    steps = 0.7 * np.arange(12)
    rows = "\n".join(f"{np.sin(t)},{np.cos(1.3 * t)}" for t in steps)
    path.write_text(f"first,second\n{rows}\n", encoding="utf-8")
    result = {}
    for name, options in SETTINGS.items():
        configuration = Configuration(**options, data=str(path) if name == "two series" else None)
        result[name] = setting_of(prepare(configuration), configuration, seeds=1, steps=T)
    return result


@pytest.fixture(scope="session")
def numbers(settings):
    """What the explorer is given, by the setting's name."""
    return {name: explorer(setting) for name, setting in settings.items()}


@pytest.fixture(scope="session")
def files(numbers, tmp_path_factory):
    """The pages, by the setting's name: the figures that move alone, without the other sections."""
    texts = {
        name: (pages.HERE / f"sections/{name}.html").read_text(encoding="utf-8") for name in ("0_explore", "4b_live")
    }
    folder = tmp_path_factory.mktemp("pages")
    result = {}
    for name, data in numbers.items():
        findings = {"explorer": data, "components": {"seeds": {"networks": 32}}}
        result[name] = folder / f"{name.replace(' ', '_')}.html"
        result[name].write_text(pages.assembled(texts, findings, {}, (), ()), encoding="utf-8")
    return result


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """The whole page of a small study, with a placeholder for each of its figures."""
    configuration = Configuration(epochs=3, hidden_size=3, bias=True)
    findings = findings_of(setting_of(prepare(configuration), configuration, seeds=2, steps=T))
    empty = b'<svg xmlns="http://www.w3.org/2000/svg"/>', (4.0, 3.0)
    drawn = {drawing.name: Picture(empty, empty) for drawing in DRAWINGS}
    path = tmp_path_factory.mktemp("study") / "study.html"
    path.write_text(pages.page(findings, drawn, DRAWINGS, tables_of(findings)), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def new_page(browser):
    """Opens a page of its own. At the end: nothing was asked of a network, and nothing was written to the console."""
    contexts, wrong = [], []

    def opened(path, width=1280, **options):
        contexts.append(browser.new_context(viewport={"width": width, "height": 800}, offline=True, **options))
        page = contexts[-1].new_page()
        page.on(
            "request", lambda request: wrong.extend([request.url] * (not request.url.startswith(("data:", "file:"))))
        )
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(path.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []
    assert contexts


@pytest.fixture(scope="session")
def shared(new_page, files):
    """One page per setting, which all tests move that only look at what they set."""
    return {name: new_page(path) for name, path in files.items()}


@pytest.fixture
def sine(shared):
    """The page of the sine wave, in one state."""
    choose(shared["sine"], epoch=1, uncut=False, k2=5, k1=2)
    choose(shared["sine"], update=3, moment=3)
    return shared["sine"]


def choose(page, **sliders):
    page.evaluate(SET, sliders)


def resize(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")  # drawn anew


def moment(page):
    return page.locator("#moment-output").text_content().partition(": ")[2]


def read(text):
    """A number as the page writes it."""
    return float(text.replace("−", "-"))


def as_written(value):
    """A number of which the page shows four digits."""
    return float(f"{value:.3e}")


# -- what it computes -----------------------------------------------------------------------------------------------


class Expected:
    """One update as numpy_rnn computes it; without the cut, its window begins at step 1."""

    def __init__(self, setting, epoch, k1, k2, update, uncut):
        c, whole = setting.configuration, setting.snapshots[epoch].params
        self.window = list(windows(len(setting.x), k1, k2))[update - 1]
        _, loss_start, stop = self.window
        start = 0 if uncut else self.window.start
        self.params = whole if start == 0 else whole._replace(h_0=None)
        self.nonlinearity = {"nonlinearity": c.nonlinearity}
        self.target, self.inputs = setting.target[loss_start:stop], setting.x[start:stop]
        initial = setting.h_0 if whole.h_0 is None else whole.h_0
        self.all = numpy_rnn.forward(whole, setting.x, initial, **self.nonlinearity)
        x, a, h, y = self.all
        self.activations = Activations(x[start:stop], a[start:stop], h[start : stop + 1], y[start:stop])
        options = {**self.nonlinearity, "reduction": c.reduction}
        self.adjoints = numpy_rnn.adjoints(self.params, self.activations, self.target, **options)
        self.sum = numpy_rnn.bptt(self.params, self.activations, self.target, **options)
        self.gradient = self.sum
        if c.max_norm is not None:
            self.gradient = clip_by_global_norm(self.sum, c.max_norm)
        momentum = {name: getattr(c, name) for name in ("momentum", "nesterov", "weight_decay")}
        self.direction, _ = direction(self.params, self.gradient, **momentum)
        self.after = sgd(self.params, self.direction, c.learning_rate)
        self.start, self.N = start, (stop - loss_start) * setting.target.shape[-1] if c.reduction == "mean" else 1

    def losses(self):
        h_0 = self.activations.h[0] if self.after.h_0 is None else self.after.h_0
        y = numpy_rnn.forward(self.after, self.inputs, h_0, **self.nonlinearity).y
        last = len(self.target)
        return [
            numpy_rnn.half_squared_error(outputs[-last:], self.target) / self.N for outputs in (self.activations.y, y)
        ]


def assert_same(result, expected):
    """Arrays are equal to rounding, relative to the largest number; 1e-12 leaves room for a thousand operations."""
    expected = np.asarray(expected)
    np.testing.assert_allclose(
        np.asarray(result, float), expected, rtol=0, atol=1e-12 * np.abs(expected).max(initial=1e-290)
    )


def assert_same_parameters(result, expected):
    for name, value in expected._asdict().items():
        if value is None:
            assert result[name] is None
        else:
            assert_same(result[name], value[0] if name == "h_0" else value)


def all_states(epochs):
    """Every update of every truncation: (epoch, k1, k2, update, uncut), epochs and the cut in turn."""
    pairs = [(k1, k2) for k1 in range(1, T + 1) for k2 in range(k1, T + 1)]
    states = [(k1, k2, n) for k1, k2 in pairs for n in range(1, -(-T // k1) + 1)]
    return [(i % epochs, *state, i // epochs % 2) for i, state in enumerate(states)]


@pytest.mark.parametrize("name", SETTINGS)
def test_forward_gradient_and_step_are_those_of_numpy_rnn(name, shared, settings):
    setting = settings[name]
    states = all_states(len(setting.snapshots))
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
        assert_same(result["step"]["losses"], update.losses())


@pytest.mark.parametrize("name", SETTINGS)
def test_scaled_networks_are_those_of_numpy_rnn(name, shared, settings, numbers):
    setting = settings[name]
    for epoch, factor in ((0, 1.0), (-1, 0.1), (0, 3.0), (-1, 10.0)):
        params = setting.snapshots[epoch].params
        result = shared[name].evaluate(
            "([epoch, factor]) => scaled(data.snapshots.at(epoch).parameters, factor)", [epoch, factor]
        )
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
        assert numbers[name]["snapshots"][epoch]["spectral_radius"] * factor == pytest.approx(
            spectral_radius(params.W_hh), rel=1e-6
        )


@pytest.mark.parametrize("max_norm", [None, 0.5])
def test_descent_on_the_surface_is_that_of_numpy_rnn(max_norm, sine):
    w, b, rate, steps, length = 2.5, 0.5, 0.5, 80, 10
    path = sine.evaluate(
        "([start, max_norm]) => descend(start, max_norm)",
        [
            {"w": w, "b": b, "rate": rate, "steps": steps, "length": length},
            max_norm,
        ],
    )
    params = Parameters(np.zeros((1, 1)), np.array([[w]]), np.ones((1, 1)), np.array([b]), np.zeros(1))
    for point in path:
        activations = numpy_rnn.forward(params, np.zeros((length, 1, 1)), np.zeros((1, 1)))
        gradients = numpy_rnn.bptt(params, activations, np.full((1, 1, 1), 0.3))
        norm = np.hypot(gradients.W_hh.item(), gradients.b_h.item())
        loss = numpy_rnn.half_squared_error(activations.y[-1:], np.full((1, 1, 1), 0.3))
        # Roundings grow by the slope of the cliff at every step that meets it.
        for key, value in {"w": params.W_hh.item(), "b": params.b_h.item(), "loss": loss, "norm": norm}.items():
            assert point[key] == pytest.approx(value, rel=1e-6, abs=1e-9), key
        assert sine.evaluate(f"surfaceLoss({point['w']}, {point['b']}, {length})") == pytest.approx(
            point["loss"], rel=1e-12
        )
        factor = 1 if max_norm is None else min(1, max_norm / (norm + 1e-6))
        s = Gradients(*map(np.zeros_like, params[:5]))._replace(
            W_hh=factor * gradients.W_hh, b_h=factor * gradients.b_h
        )
        params = sgd(params, s, rate)
    far, near = abs(path[-1]["b"]) > 10, path[-1]["loss"] < 0.3
    assert (far, near) == ((True, False) if max_norm is None else (False, True))


# -- what it shows of it --------------------------------------------------------------------------------------------


def expected_rows(update, setting, what, t, so_far):
    """The rows of numbers of a moment; those in bold, which are made, are the last, or of every parameter the last."""
    p, (x, a, h, y), start = update.params, update.all, update.start
    adjoints = {name: getattr(update.adjoints, name)[:, 0] for name in ("dy", "dh", "da")}
    at = {name: values[t - 1 - start] for name, values in adjoints.items() if t > start}
    biases = {name: [] if theta is None else [theta] for name, theta in p._asdict().items()}
    x, a, h, y, target = x[:, 0], a[:, 0], h[:, 0], y[:, 0], setting.target[:, 0]
    if what == "enter":
        return [h[t]]
    if what == "a":
        return [x[t - 1] @ p.W_xh, h[t - 1] @ p.W_hh, *biases["b_h"], a[t - 1]]
    if what == "h":
        return [a[t - 1], h[t]]
    if what == "y":
        return [h[t] @ p.W_hy, *biases["b_y"], y[t - 1]]
    if what == "loss":
        error = y[t - 1] - target[t - 1]
        return [y[t - 1], target[t - 1], error, [0.5 * (error**2).sum()]]
    if what == "dy":
        return [y[t - 1], target[t - 1], [update.N], at["dy"]]
    if what == "dh":
        later = adjoints["da"][t - start] @ p.W_hh.T if t < update.window.stop else []
        return [at["dy"] @ p.W_hy.T, later, at["dh"]]
    if what == "da":
        return [at["dh"], slopes(h[t : t + 1], setting.configuration.nonlinearity)[0], at["da"]]
    row = lambda theta: theta[1 if len(theta) > 1 else 0] if theta.ndim == 2 else theta  # noqa: E731
    present = [name for name, theta in p._asdict().items() if theta is not None]
    pick = lambda name, values: row(values) if name != "h_0" else values.reshape(-1)  # noqa: E731
    if what == "dW":
        dh_0 = at["da"] @ p.W_hh.T if t == 1 else np.zeros(len(p.W_hh))
        term = Gradients(
            np.outer(x[t - 1], at["da"]),
            np.outer(h[t - 1], at["da"]),
            np.outer(h[t], at["dy"]),
            at["da"],
            at["dy"],
            dh_0,
        )
        for name in present:
            so_far[name] = so_far.get(name, 0) + getattr(term, name)
        return [values for name in present for values in (pick(name, getattr(term, name)), pick(name, so_far[name]))]
    if what == "clip":
        pairs = [(getattr(update.sum, name), getattr(update.gradient, name)) for name in present]
        norms = [np.sqrt(sum((theta**2).sum() for theta in side)) for side in zip(*pairs)]
        return [norms, *(pick(name, values) for name, pair in zip(present, pairs) for values in pair)]
    rate = setting.configuration.learning_rate
    steps = [
        (getattr(p, name), -rate * getattr(update.direction, name), getattr(update.after, name)) for name in present
    ]
    return [pick(name, values) for name, step in zip(present, steps) for values in step]


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
            inside = {
                c for c in shown["computed"] if not c.startswith(("x", "target")) and int(c.split()[1]) > window.start
            }
            assert inside == {c for c in seen if c.split()[0] in EQUATIONS and int(c.split()[1]) > window.start}
            beyond = {c for c in seen if c.split()[0] in ("dy", "dh", "da") and int(c.split()[1]) <= window.start}
            assert set(shown["beyond"]) == beyond
            assert ("Beyond the cut" in shown["summary"]) == (what in ("dy", "dh", "da", "dW") and t <= window.start)
            added = sum(step[0] == "dW" for step in moments[: i + 1])
            assert shown["added"] == 3 * added
            losses = range(window.loss_start + 1, window.stop + 1)
            components = [[u, s] for u in losses for s in range(update.start + 1, u + 1)]
            if what in ("loss", "dy"):
                components = [[u, s] for u, s in components if u == t]
            elif what in ("dh", "da", "dW"):
                components = [[u, s] for u, s in components if s == t]
            assert shown["framed"] == (components if what in FRAMED else [])
        final = page.locator("#summary").text_content()
        before, after = (str(as_written(v)) for v in update.losses())
        words = [word.strip(".") for word in final.replace("−", "-").split() if word.strip(".-")[:1].isdigit()]
        assert {before, after} <= {
            str(float(word)) for word in words if word.replace(".", "").replace("e-", "").isdigit()
        }
    page.evaluate("change({row: 1})")


@pytest.mark.parametrize("name", ["sine", "two series"])
def test_every_mask_is_the_schedule_and_has_its_cost(name, shared, numbers):
    page, snapshots = shared[name], numbers[name]["snapshots"]
    pairs = [(k1, k2) for k2 in range(1, T + 1) for k1 in range(1, k2 + 1)]
    chosen = [(i % len(snapshots), k1, k2) for i, (k1, k2) in enumerate(pairs)]
    for (epoch, k1, k2), result in zip(chosen, page.evaluate(MASKS, chosen), strict=True):
        kept = [
            [t, s]
            for start, loss_start, stop in windows(T, k1, k2)
            for t in range(loss_start + 1, stop + 1)
            for s in range(start + 1, t + 1)
        ]
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


# -- sliders, keys, clicks ------------------------------------------------------------------------------------------


def test_k1_never_exceeds_k2(sine):
    for changes, expected in (({"k1": 6}, (6, 6)), ({"k2": 4}, (4, 4)), ({"k2": T}, (4, T)), ({"k1": T}, (T, T))):
        choose(sine, **changes)
        values = sine.evaluate(VALUES)
        assert (values["k1"], values["k2"]) == expected
        assert values["update"] <= sine.evaluate("Number(document.getElementById('update').max)")


def test_changing_the_truncation_keeps_the_step_and_what_is_computed(sine):
    choose(sine, k1=1, k2=5)
    choose(sine, update=6)
    sine.evaluate("change({moment: sameMoment({name: 'da', t: 5})})")
    for change, expected in (
        ({"k1": 2}, "da_5"),  # window (1, 6]
        ({"k1": 4}, "da_5"),  # window (2, 7]
        ({"k1": 1}, "da_5"),
        ({"k2": 1}, "da_6"),  # window (5, 6]
        ({"k2": 6}, "da_5"),
        ({"uncut": True}, "da_5"),
        ({"epoch": 0}, "da_5"),
        ({"update": T}, "da_5"),
    ):
        choose(sine, **change)
        assert moment(sine) == expected, change


SLIDER_KEYS = {
    **{(slider, key): (slider, by) for slider in ("epoch", "k1", "k2", "update", "moment")
       for key, by in (("ArrowRight", 1), ("ArrowLeft", -1))},
    **{("steps", key): change for key, change in {
        "ArrowRight": ("moment", 1), "ArrowLeft": ("moment", -1), "ArrowUp": ("update", 1), "ArrowDown": ("update", -1),
        "Home": ("moment", -3), "End": ("moment", None)}.items()},
    **{("mask", key): change for key, change in {
        "ArrowRight": ("k2", 1), "ArrowLeft": ("k2", -1), "ArrowUp": ("k1", 1), "ArrowDown": ("k1", -1)}.items()},
}  # fmt: skip


def test_sliders_and_figures_obey_the_keys_that_the_page_names(sine):
    for (focused, key), (slider, by) in SLIDER_KEYS.items():
        choose(sine, epoch=1, k2=5, k1=2)
        choose(sine, update=2, moment=3)
        before = sine.evaluate(VALUES)
        sine.locator(f"#{focused}").focus()
        sine.keyboard.press(key)
        after = sine.evaluate(VALUES)
        last = sine.evaluate("Number(document.getElementById('moment').max)")
        assert after[slider] == (last if by is None else before[slider] + by), (focused, key)
        kept = {"epoch", "k1", "k2"} - {slider}  # the moment and the update may have to follow
        assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
        text = sine.locator(f"#{slider}-output").text_content()
        assert sine.locator(f"#{slider}").get_attribute("aria-valuetext") == text
        if focused in ("steps", "mask"):
            sine.keyboard.press("Control+ArrowRight")
            assert sine.evaluate(VALUES) == after


def test_page_keys_scroll_the_page(sine):
    sine.locator("#steps").focus()
    before, values = sine.evaluate("scrollY"), sine.evaluate(VALUES)
    sine.keyboard.press("PageDown")
    sine.wait_for_function("before => scrollY > before + 100", arg=before)
    assert sine.evaluate(VALUES) == values


def test_back_and_forward_stop_at_the_ends(sine):
    for button, end in (("forward", "Infinity"), ("back", "0")):
        sine.evaluate(f"change({{moment: {end}}})")
        before = sine.evaluate(VALUES)["moment"]
        sine.locator(f"#{button}").click()
        assert sine.evaluate(VALUES)["moment"] == before
    sine.locator("#forward").click()
    assert sine.evaluate(VALUES)["moment"] == 1


def test_network_and_matrix_lead_to_each_other(sine):
    choose(sine, k2=T)
    choose(sine, update=4, moment=0)
    for cells in ("rect.empty[data-name=dh][data-t='3']", "g[data-name=a][data-t='2'] rect.frame"):
        sine.locator(f"#steps {cells}").dispatch_event("click")
    assert moment(sine) == "a_2"
    sine.locator("#steps rect.empty[data-name=da][data-t='4']").dispatch_event("click")
    assert (moment(sine), sine.evaluate(READ)["framed"]) == ("da_4", [[T, 4]])
    choose(sine, k1=1, k2=2)
    for (t, s), uncut in (((5, 4), False), ((6, 2), True)):  # a component that is kept, and one that is cut
        sine.locator(f"#mask .component[data-t='{t}'][data-s='{s}'] .hit").dispatch_event("click")
        assert moment(sine) == f"da_{s}"
        assert sine.evaluate(VALUES) | {"k1": 1, "k2": 2, "update": t} == sine.evaluate(VALUES)
        assert [t, s] in sine.evaluate(READ)["framed"]
        assert sine.locator("#uncut").is_checked() == uncut
        assert sine.locator(f"#steps g.cells{'.beyond' if uncut else ''}[data-name=da][data-t='{s}']").count() == 1


def test_a_row_of_the_weights_is_chosen_by_click_and_key(sine):
    sine.evaluate("change({moment: Infinity})")
    sine.locator("#weights [data-weight=W_hh] [data-row='3']").first.click()
    assert "W_hh[3]".replace("_", "") in "".join(label for label, *_ in sine.evaluate(READ)["rows"])
    sine.locator("#steps").focus()
    sine.keyboard.press("[")
    sine.keyboard.press("[")
    assert "Whh[1]" in "".join(label for label, *_ in sine.evaluate(READ)["rows"])


def test_the_cut_is_drawn_where_the_window_starts(sine):
    choose(sine, k1=1, k2=2)
    choose(sine, update=5)
    labels = "() => [...document.querySelectorAll('.cut-line text')].map((e) => e.textContent)"
    assert sine.evaluate(labels) == ["detach here"]
    line = sine.locator("#steps .cut-line path").first.bounding_box()["x"]
    edges = [sine.locator(f"#steps [data-name=h][data-t='{t}']").bounding_box()["x"] for t in (3, 4)]
    assert edges[0] < line < edges[1]
    choose(sine, uncut=True)
    assert sine.evaluate(labels) == ["not detached"]
    choose(sine, update=1)
    assert sine.evaluate(labels) == []


def test_play_goes_on_by_itself_and_stops_at_the_end(new_page, files):
    page = new_page(files["sine"])
    page.clock.install(time=0)
    page.clock.pause_at(1000)
    choose(page, moment=0)
    last = page.evaluate("Number(document.getElementById('moment').max)")
    page.locator("#steps").focus()
    for clicks, expected in ((1, 3), (1, 3)):
        for _ in range(clicks):
            page.keyboard.press("Space")
        page.clock.run_for(2100)
        assert page.evaluate(VALUES)["moment"] == expected
    page.locator("#play").click()
    assert page.locator("#play").get_attribute("aria-pressed") == "true"
    page.clock.run_for(700 * (last + 2))
    assert page.evaluate(VALUES)["moment"] == last
    assert page.locator("#play").get_attribute("aria-pressed") == "false"
    page.emulate_media(reduced_motion="reduce")
    choose(page, moment=0)
    page.locator("#play").click()
    page.clock.run_for(5000)
    assert page.evaluate(VALUES)["moment"] == 1


def test_sliders_of_the_live_figures_move_what_they_say(sine):
    for slider, value, words in (
        ("scale-factor", 50, "W_hh times 10.0"), ("scale-factor", -50, "W_hh times 0.100"), ("scale-epoch", 2, ""),
        ("cliff-w", 1.5, ""), ("cliff-b", -0.4, ""), ("cliff-rate", 0.1, ""), ("cliff-clip", 0.2, "clipping at 0.2"),
        ("cliff-steps", 7, "after 7 steps"), ("cliff-length", 3, ""),
    ):  # fmt: skip
        figure = slider.partition("-")[0]
        text = sine.locator(f"#{figure}-text")
        before = text.text_content()
        choose(sine, **{slider: value})
        after = text.text_content()
        assert before != after, slider
        assert after.startswith("This network")
        assert words in after
    for path, threshold in (("Without clipping", "null"), ("With clipping at 0.2", "cliff.clip")):
        loss = sine.evaluate(f"show(descend(cliff, {threshold}).at(-1).loss, 3)")
        assert f"{path}: loss {loss} at " in sine.locator("#cliff-text").text_content()
    sine.locator("#cliff-surface").scroll_into_view_if_needed()
    box = sine.locator("#cliff-surface").bounding_box()
    clicked = box["x"] + 0.6 * box["width"], box["y"] + 0.25 * box["height"]
    sine.mouse.click(*clicked)
    w, b = (float(sine.locator(f"#cliff-{name}").input_value()) for name in "wb")
    assert (w, b) == pytest.approx((-1 + 0.6 * 5, 1.5 - 0.25 * 3), abs=0.02)
    ring = sine.locator("#cliff-paths .begin").bounding_box()
    assert abs(ring["x"] + ring["width"] / 2 - clicked[0]) < 3
    assert abs(ring["y"] + ring["height"] / 2 - clicked[1]) < 3


# -- links that set it, and its address -----------------------------------------------------------------------------


def test_links_of_the_text_set_the_figures(sine, numbers):
    choose(sine, k1=2, k2=2, update=2)
    for words, expected in {
        "k1=1 k2=1": {"k1": 1, "k2": 1},
        f"epoch={numbers['sine']['snapshots'][1]['epoch']}": {"epoch": 1},
        f"component={T},{T - 3}": {"k2": 4, "update": T},
        f"k1=1 k2=2 update={T} uncut=1 at=da_1": {"k1": 1, "k2": 2, "update": T},
    }.items():
        sine.locator(f"a[data-set='{words}']").click()
        assert expected.items() <= sine.evaluate(VALUES).items(), words
    assert moment(sine) == "da_1"
    assert [T, 1] in sine.evaluate(READ)["framed"]
    sine.locator("a[data-set='factor=0.3']").click()
    assert "W_hh times 0.302" in sine.locator("#scale-text").text_content()


def test_the_address_holds_the_state(new_page, files):
    page = new_page(files["sine"])
    page.wait_for_timeout(400)
    assert page.url == files["sine"].as_uri()  # nothing was changed yet
    state = "() => ({...shown, moment: current().moment, factor: scaling.factor, ...cliff})"
    choose(page, epoch=1, k1=2, k2=5, uncut=True)
    page.evaluate("change({row: 3, moment: Infinity})")
    page.wait_for_function("() => location.hash.includes('uncut')")
    words, values = page.evaluate("location.hash"), page.evaluate(state)
    page.evaluate(f"location.hash = '{words.replace('k2=5', 'k2=3')}'")
    page.wait_for_function("() => document.getElementById('k2').value === '3'")
    for slider, value in (("scale-factor", 9), ("cliff-b", -0.25)):
        choose(page, **{slider: value})
        page.wait_for_function("figure => location.hash.startsWith(`#${figure}/`)", arg=slider.partition("-")[0])
        address, moved = page.url, page.evaluate(state)
        page.goto("about:blank")
        page.goto(address)
        assert page.evaluate(state)[{"scale-factor": "factor", "cliff-b": "b"}[slider]] == value
        assert moved["factor"] == 9
    page.goto("about:blank")
    page.goto(files["sine"].as_uri() + words)
    assert page.evaluate(state) == values | {"factor": 0}
    for wrong in (
        "k1=x&k2=-1",
        "at=nothing_3&component=9,99",
        "epoch=99999&k1=999&at=dh_999",
        "=&&==",
        "row=99&uncut=5",
        "component&at",
    ):
        page.evaluate("words => { location.hash = `#explore/${words}`; }", wrong)
        page.wait_for_timeout(30)
        values = page.evaluate(VALUES)
        assert 1 <= values["k1"] <= values["k2"] <= T
    for wrong in (
        "scale/factor=x&epoch=-1",
        "scale/factor=1000",
        "cliff/w=99&steps=-5&length=x",
        "constructor/k1=1",
        "explore",
    ):
        page.evaluate("words => { location.hash = words; }", wrong)
        page.wait_for_timeout(30)
    assert page.evaluate("[scaling.factor, cliff.w, cliff.steps, cliff.length]") == [50, 4, 1, 10]


# -- reading it -----------------------------------------------------------------------------------------------------


def test_everything_that_acts_is_reached_by_tab(sine):
    acting = set(sine.evaluate("[...document.querySelectorAll('input, button, #steps, #mask')].map((e) => e.id)"))
    assert len(acting) == 19
    reached = set()
    sine.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    for _ in range(50):
        sine.keyboard.press("Tab")
        identifier, outline = sine.evaluate(
            "[document.activeElement.id, getComputedStyle(document.activeElement).outlineStyle]"
        )
        reached.add(identifier)
        assert outline != "none" or sine.evaluate("document.activeElement === document.body")
    assert acting <= reached


def test_the_whole_page_fits_its_screen_and_axe_finds_no_violation(new_page, whole):
    """On a wide screen sliders, network, matrix and curves are in view at once; on a narrow one the marker stays so."""
    from axe_playwright_python.sync_playwright import Axe

    everything = {"exclude": [["math"]]}  # formulas have the colour of the text around them, and are many
    sections = {"include": [["#questions"], ["#explore"], ["#live"], ["#mistakes"]], **everything}
    for width, scheme, context in ((1280, "light", everything), (400, "dark", sections)):
        page = new_page(whole, width, color_scheme=scheme)
        found = Axe().run(page, context=context).response["violations"]
        assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (background == "rgb(255, 255, 255)") == (scheme == "light")
        page.evaluate("location.hash = '#explore/update=3'")
        page.wait_for_timeout(50)
        if width == 1280:
            assert page.evaluate(TOO_WIDE) == []
            for shown in ("#moment", "#k2", "#steps svg", "#weights svg", "#mask svg", "#curves", "#summary"):
                box = page.locator(shown).bounding_box()
                assert 0 <= box["x"] <= box["x"] + box["width"] <= 1280, shown
                assert 0 <= box["y"] <= box["y"] + box["height"] <= 800, shown
        for update in (T, 1):
            choose(page, k1=1, update=update)
            column, marker = (page.locator(f"#steps{part}").bounding_box() for part in ("", " .marker"))
            assert column["x"] <= marker["x"] < marker["x"] + marker["width"] <= column["x"] + column["width"]


def test_narrow_screens_need_no_sideways_scrolling(shared):
    for page in shared.values():
        resize(page, 400)
        choose(page, k2=T, update=T)
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        resize(page, 1280)


def test_it_prints(new_page, files):
    page = new_page(files["relu"])
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.emulate_media(media="print")
    for hidden in ("#moment", "#play", "#scale-factor", "nav", "#keys"):
        assert not page.locator(hidden).is_visible(), hidden
    drawings = ("#steps svg", "#weights svg", "#mask svg", "#cliff-paths svg")
    for shown in (
        "#state",
        "#summary",
        "#numbers",
        "#curves",
        "#scale-panels",
        "#scale-text",
        "#cliff-text",
        *drawings,
    ):
        assert page.locator(shown).is_visible(), shown
    resize(page, 660)  # A4 without its margins
    for drawing in drawings:
        box = page.locator(drawing).bounding_box()
        assert box["x"] + box["width"] <= 660, drawing
    heights = [page.locator(drawing).bounding_box()["height"] for drawing in drawings[:2]]
    assert heights == pytest.approx([heights[0]] * 2, rel=1e-3)  # the rails meet


def test_what_is_shown_is_announced(sine):
    sine.locator("#steps").focus()
    before = sine.locator("#summary").text_content()
    sine.keyboard.press("End")
    after = sine.locator("#summary[aria-live=polite]").text_content()
    assert before != after
    assert after.startswith("Update: the step")
    assert sine.locator("#steps svg").get_attribute("aria-label") == f"{T} steps; the window is (1, 6]"
