"""Small settings of the study, a whole run of it with made-up numbers, and the rounding bounds of its components."""

import json
import math
import re
from collections import Counter
from functools import cache
from html.parser import HTMLParser
from typing import Any

import numpy as np

from numpy_rnn import Gradients, Parameters
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import prepare
from numpy_rnn.conformance.bounds.global_bounds import global_bounds
from numpy_rnn.conformance.bounds.oracle import Enclosure
from numpy_rnn.conformance.bounds.rounding import Rounded, Rounding
from numpy_rnn.conformance.case import Case
from numpy_rnn.conformance.mutants.catalogue import named
from numpy_rnn.study.checks.complex_step import unrolled
from numpy_rnn.study.components.matrix import components_by_complex_step
from numpy_rnn.study.page.wrong_lines import PUZZLES
from numpy_rnn.study.setting import Setting, setting_of
from numpy_rnn.study.study import PARTS
from numpy_rnn.study.training.disagreements import VARIANTS
from numpy_rnn.study.training.mistakes import measure_training

ROUNDING = Rounding(np.float64)


def small(steps=5, seeds=2, **options) -> Setting:
    """A setting of few steps, on the sine wave."""
    configuration = Configuration(**options)
    return setting_of(prepare(configuration), configuration, seeds, steps)


def a_setting(seeds=3, steps=None, **values):
    """A setting of a few epochs, of all steps of the sine wave unless fewer are given."""
    configuration = Configuration(**{"epochs": 4, **values})
    return setting_of(prepare(configuration), configuration, seeds, steps)


EVERYTHING: dict[str, Any] = {"bias": True, "learn_initial_state": True, "hidden_size": 3}
OF_RELU = {"nonlinearity": "relu", "learning_rate": 0.01}
OF_STEP = {"reduction": "mean", "momentum": 0.5, "max_norm": 1.0}
SETTINGS: dict[str, dict[str, Any]] = {  # the sine job in full length, and small ones with what else a run may have
    "sine": {"steps": 20, "epochs": 20},
    "everything": {"steps": 5, "epochs": 2, "k1": 2, "k2": 3, **EVERYTHING, **OF_STEP},
    "relu": {"steps": 6, "epochs": 2, **EVERYTHING, **OF_RELU},
    "three steps, untrained": {"steps": 3, "epochs": 0, "hidden_size": 2},
}


@cache
def named_setting(name) -> Setting:
    """One of them, made once."""
    return small(**SETTINGS[name])


BY_CASE = "mean over the steps alone"  # a mutant that no run of the study shows
OTHERS = (
    "float32 products inside float64",
    "mean over the steps alone",
    "1 − h for 1 − h²",
    "db_h not summed over the batch",
    "weights left out of the loss",
    "clipping by the norm squared",
    "learning rate applied twice to W_hh",
    "a loss counted twice",
)
CHOSEN = tuple(named(name) for name in dict.fromkeys([*(variant.mutant for variant in VARIANTS), *OTHERS, BY_CASE]))


def measure(setting, mutants=CHOSEN) -> dict[str, Any]:
    """The findings of a study with these mutants only, as they come back from JSON."""
    parts = {part: measure for part, (_, measure) in PARTS.items()}
    parts["training"] = lambda setting: measure_training(setting, mutants)
    with np.errstate(over="ignore", invalid="ignore"):
        findings = {part: measure(setting) for part, measure in parts.items()}
    return json.loads(json.dumps(findings, allow_nan=False))


# The study whose folder the command writes, once for all tests.
STUDIED: dict[str, Any] = {"epochs": 2, "steps": 6, "k1": 50, "k2": 50, "reduction": "mean", "nonlinearity": "relu"}
STUDIED |= {"bias": True, "learn_initial_state": True, "hidden_size": 3, "momentum": 0.5, "max_norm": 0.2}
STUDIED |= {"dtype": "float64", "seeds": 2}
STUDIED_WORDS = [
    word
    for name, value in STUDIED.items()
    for word in [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
]
MISTAKES = tuple(map(named, PUZZLES))  # of that study

SHARED: dict[str, Any] = {"epochs": 4, "hidden_size": 3, "bias": True, "dtype": "float64"}


@cache
def shared_run() -> tuple[Setting, dict[str, Any]]:
    """The setting and the findings of a short run, made once for all tests."""
    setting = small(8, 5, **SHARED)
    return setting, measure(setting)


@cache
def made_up() -> dict[str, Any]:
    """The findings of the shared run with another number for each: what shows two of them exchanged, shows it.

    Zeros stay, as what is drawn of them may differ, and so do whole numbers but those of networks that diverged.
    """
    generator = np.random.default_rng(0)

    def changed(value, key=""):
        if isinstance(value, dict):
            return {name: changed(v, name) for name, v in value.items()}
        if isinstance(value, list):
            return [changed(v, key) for v in value]
        if key == "diverged" and value == 0:
            return int(generator.integers(1, 90))
        return value * 10 ** generator.uniform(-0.9, 0.9) if isinstance(value, float) else value

    return changed(shared_run()[1])


def initial_state(setting, params):
    """The state that enters the series, learned or not."""
    return setting.h_0 if params.h_0 is None else params.h_0


def case_of(setting, params, start, loss_start, stop, h_0, reduction="sum") -> Case:
    """One window of the series, under these parameters."""
    if start > 0:
        params = params._replace(h_0=None)
    x, target = setting.x[start:stop], setting.target[loss_start:stop]
    return Case(params, x, target, h_0, 0.0, setting.configuration.nonlinearity, reduction)


def balls(case) -> dict[str, tuple[Enclosure, np.ndarray]]:
    """The true values of a case, by ball arithmetic, and of every tensor E: how far off correct computations may be."""
    return global_bounds(case)


def bounds_of_components(setting, params):
    """E of every component, (T, T, *shape of θ), and of every t the `balls` of its case; their E is carried through
    the one product that makes a component, (B4) to (B9).
    """
    h_0, T = initial_state(setting, params), len(setting.x)
    E = Gradients(*(None if theta is None else np.zeros((T, T, *theta.shape)) for theta in params))
    cases = []
    for t in range(1, T + 1):
        result = balls(case_of(setting, params, 0, t - 1, t, h_0))
        cases.append(result)
        h, da, dy = (
            Rounded(np.abs(value.high), bound) for value, bound in (result[name] for name in ("h", "da", "dy"))
        )
        for s in range(1, t + 1):
            before = h[s - 2] if s > 1 else ROUNDING.given(h_0)
            at = t - 1, s - 1
            E.W_xh[at] = ROUNDING.product(ROUNDING.given(setting.x[s - 1]).mT, da[s - 1])
            E.W_hh[at] = ROUNDING.product(before.mT, da[s - 1])
            if params.b_h is not None:
                E.b_h[at] = ROUNDING.sum(da[s - 1])
        E.W_hy[t - 1, t - 1] = ROUNDING.product(h[t - 1].mT, dy[t - 1])
        if params.b_y is not None:
            E.b_y[t - 1, t - 1] = ROUNDING.sum(dy[t - 1])
        if params.h_0 is not None:
            E.h_0[t - 1, 0] = result["dh_0"][1]
    return E, cases


def kept_components(T, k1, k2):
    """DERIVATION.md, section 5, transcribed: (t, s) of the components that are kept, and K of the update of each t."""
    e, n, kept, counted = {0: 0}, 0, set(), {}
    while e[n] < T:
        n += 1
        e[n] = min(n * k1, T)
        s_n = max(0, e[n] - k2)
        for t in range(e[n - 1] + 1, e[n] + 1):
            counted[t] = e[n] - e[n - 1]
            kept |= {(t, s) for s in range(s_n + 1, t + 1)}
    return kept, counted


def components_in_another_way(setting, params):
    """All numbers of the component matrix of one network, from its components by complex step and by plain loops."""
    h_0, T, phi = initial_state(setting, params), len(setting.x), setting.configuration.nonlinearity
    present = {name: theta for name, theta in params._asdict().items() if theta is not None}
    size = sum(theta.size for theta in present.values())
    G = np.stack(
        [
            components_by_complex_step(params, setting.x, setting.target, h_0, phi, s, np.arange(size))
            for s in range(1, T + 1)
        ],
        axis=1,
    )
    names = [name for name, theta in present.items() for _ in range(theta.size)]
    recurrent = G[..., np.array(names) == "W_hh"]
    sizes = np.sqrt(np.sum(G**2, axis=-1))
    lags = [[sizes[t, t - lag] for t in range(lag, T)] for lag in range(T)]

    def summed(components, k1, k2):
        return sum(components[t - 1, s - 1] for t, s in kept_components(T, k1, k2)[0])

    def cost(components, k1, k2):
        some, full = summed(components, k1, k2), summed(components, T, T)
        norms = [math.sqrt(v @ v) for v in (some, full, some - full)]
        return {"cosine": some @ full / (norms[0] * norms[1]), "bias": norms[2] / norms[1]}

    def reach(share):
        """For each t, how many norms, from s = t backwards, are needed for this share of them all."""
        needed = []
        for t in range(T):
            sums = [sum(sizes[t, t - n] for n in range(count)) for count in range(1, t + 2)]
            needed.append(1 + sum(total < share * sums[-1] for total in sums))
        return sum(needed) / T

    activations = unrolled([params] * T, setting.x, h_0, phi)
    h = activations.h[1:, 0]
    slope = 1 - h**2 if phi == "tanh" else 1.0 * (h > 0)
    truncations = {"chunks": lambda k: (k, k), "sliding": lambda k: (1, k)}
    return {
        "heat": sizes,
        "lag": {
            "mean": [np.mean(v) for v in lags],
            "largest": [max(v) for v in lags],
            "smallest": [min(v) for v in lags],
        },
        "reach": {"50": reach(0.5), "90": reach(0.9), "99": reach(0.99)},
        "cost": {
            name: {
                kind: {part: [cost(components, *of(k))[part] for k in range(1, T + 1)] for part in ("cosine", "bias")}
                for kind, of in truncations.items()
            }
            for name, components in (("all", G), ("W_hh", recurrent))
        },
        "of_mask": lambda k1, k2: (
            cost(G, k1, k2)
            | {"share": sum(sizes[t - 1, s - 1] for t, s in kept_components(T, k1, k2)[0]) / sizes.sum()}
        ),
        "spectral_radius": max(abs(np.linalg.eigvals(params.W_hh))),
        "slope": slope.mean(),
        "saturated": np.mean(slope < 0.19),
        "losses": [np.sum((activations.y[t] - setting.target[t]) ** 2) / 2 for t in range(T)],
        "gradient_norm": math.sqrt(np.sum(summed(G, T, T) ** 2)),
        "activations": activations,
    }


def whole_numbers(seed, steps=6):
    """Parameters, inputs, targets and a state of small whole numbers, none of which is lost behind relu's zero."""
    integers = np.random.default_rng(seed).integers
    params = Parameters(*(integers(1, 3, size).astype(float) for size in ((1, 2), (2, 2), (2, 1))))
    x, target = (integers(1, 4, (steps, 1, 1)).astype(float) for _ in range(2))
    return params, x, target, integers(0, 2, (1, 2)).astype(float)


def row(gradients):
    """The parameters or gradients that are there, as one vector."""
    return np.concatenate([theta.ravel() for theta in gradients if theta is not None])


def near(found, expected, where=""):
    """Seven digits are given of a number; cosines and losses that are sums may cancel to some more roundings."""
    found = np.array(found, float)
    np.testing.assert_allclose(found, np.array(expected, float), rtol=1.01 * 0.5e-6, atol=1e-11, err_msg=str(where))


def outside_its_borders(figure):
    """The box of what is visible if it reaches beyond the figure by more than a pixel, as a list of at most one."""
    drawn, margin = figure.get_tightbbox(), 1 / figure.dpi  # inches
    inside = min(drawn.x0, drawn.y0) >= -margin and (drawn.max <= figure.get_size_inches() + margin).all()
    return [] if inside else [str(drawn)]


VOID = {"meta", "link", "img", "input", "br", "hr"}  # elements without an end tag; those of SVG end themselves


class Reader(HTMLParser):
    """What a page is made of: open elements are matched with their ends."""

    def __init__(self, text):
        super().__init__()
        self.open, self.faults, self.elements, self.text = [], [], [], ""
        self.feed(text)
        self.close()
        self.faults += [f"<{tag}> is never closed" for tag in self.open]

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes something else")

    def handle_data(self, data):
        self.text += data


def faults(text):
    """What is wrong with a page, so that it may not be handed out: a list of short texts."""
    reader = Reader(text)
    result = list(reader.faults)
    ids = Counter(attributes["id"] for _, attributes in reader.elements if "id" in attributes)
    result += [f"{name} is the id of {count} elements" for name, count in ids.items() if count > 1]
    for tag, attributes in reader.elements:
        if tag == "img" and not attributes.get("alt"):
            result.append("an image has no alternative text")
        if tag == "svg" and not attributes.get("aria-label"):
            result.append("a drawing has no alternative text")
        for name in ("src", "href", "srcset", "data", "action", "poster", "xlink:href"):
            followed = ("https:",) if (tag, name) == ("a", "href") else ()  # by the reader, not by the page
            if not (attributes.get(name) or "#").startswith(("#", "data:", *followed)):
                result.append(f"<{tag}> leads to {attributes[name]}")
        for name in ("for", "aria-labelledby", "aria-describedby"):
            result += [
                f"{name}={name_} leads nowhere" for name_ in attributes.get(name, "").split() if name_ not in ids
            ]
        if (attributes.get("href") or "").startswith("#") and attributes["href"][1:] not in ids:
            result.append(f"{attributes['href']} leads nowhere")
    result += [f"the style loads {what}" for what in re.findall(r"@import\b.*|\burl\((?!#)[^)]*\)", text)]
    scripts = " ".join(re.findall(r"<script.*?</script>", text, re.DOTALL))
    result += [f"the script loads by {what}" for what in re.findall(r"\bfetch\(|XMLHttpRequest|\bimport\b", scripts)]
    labelled = {attributes.get("for") for tag, attributes in reader.elements if tag == "label"}
    for tag, attributes in reader.elements:
        if tag == "input" and attributes.get("id") not in labelled:
            result.append(f"the input {attributes.get('id')} has no label")
    return result
