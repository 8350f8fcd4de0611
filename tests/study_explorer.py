"""The explorer of the study's page: what the tests set and read in a browser, and the same numbers by numpy_rnn."""

import importlib.util
import shutil

import numpy as np
import pytest

import numpy_rnn
from numpy_rnn import Activations, windows
from numpy_rnn.clipping import clip_by_global_norm
from numpy_rnn.momentum import direction
from numpy_rnn.sgd import sgd

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
IN_BROWSER = pytest.mark.skipif(
    bool(MISSING), reason=f"the page is not tested in a browser: no {' and no '.join(MISSING)}"
)

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
