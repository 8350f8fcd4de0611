"""The explorer of the study's page: what the tests set and read in a browser, and the same numbers by numpy_rnn."""

import importlib.util
import shutil

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


def choose(page, **sliders):
    page.evaluate(SET, sliders)


def resize(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")  # drawn anew


def moment(page):
    return page.locator("#moment-output").text_content().partition(": ")[2]


class Expected:
    """One update as numpy_rnn computes it; without the cut, its window begins at step 1."""

    def __init__(self, setting, epoch, k1, k2, update, uncut):
        c, whole = setting.configuration, setting.snapshots[epoch].params
        self.window = list(windows(len(setting.x), k1, k2))[update - 1]
        start, loss_start, stop = self.window
        self.start = start = 0 if uncut else start
        self.params = params = whole if start == 0 else whole._replace(h_0=None)
        target, nonlinearity = setting.target[loss_start:stop], {"nonlinearity": c.nonlinearity}
        h_0 = setting.h_0 if whole.h_0 is None else whole.h_0
        self.all = x, a, h, y = numpy_rnn.forward(whole, setting.x, h_0, **nonlinearity)
        activations = Activations(x[start:stop], a[start:stop], h[start : stop + 1], y[start:stop])
        options = {**nonlinearity, "reduction": c.reduction}
        self.adjoints = numpy_rnn.adjoints(params, activations, target, **options)
        self.sum = self.gradient = numpy_rnn.bptt(params, activations, target, **options)
        if c.max_norm is not None:
            self.gradient = clip_by_global_norm(self.sum, c.max_norm)
        momentum = {name: getattr(c, name) for name in ("momentum", "nesterov", "weight_decay")}
        self.direction, _ = direction(params, self.gradient, **momentum)
        self.after = sgd(params, self.direction, c.learning_rate)
        self.N = target.size if c.reduction == "mean" else 1
        again = numpy_rnn.forward(
            self.after, x[start:stop], h[start] if self.after.h_0 is None else self.after.h_0, **nonlinearity
        )
        outputs = (of.y[-len(target) :] for of in (activations, again))
        self.losses = [numpy_rnn.half_squared_error(y, target) / self.N for y in outputs]
