"""Small settings of the study, and the rounding bounds of its components."""

import re
from collections import Counter
from functools import cache
from html.parser import HTMLParser
from typing import Any

import numpy as np

from numpy_rnn import Gradients
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import prepare
from numpy_rnn.conformance.bounds.global_bounds import global_bounds
from numpy_rnn.conformance.bounds.oracle import Enclosure
from numpy_rnn.conformance.bounds.rounding import Rounded, Rounding
from numpy_rnn.conformance.case import Case
from numpy_rnn.study.setting import Setting, setting_of

ROUNDING = Rounding(np.float64)


def small(steps=5, seeds=2, **options) -> Setting:
    """A setting of few steps, on the sine wave."""
    configuration = Configuration(**options)
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
