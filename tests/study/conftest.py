"""Runs of the study, node for the scripts of the lesson, and a browser for pages."""

import json
import re
import shutil
import subprocess
from typing import NamedTuple

import numpy as np
import pytest

from numpy_rnn import Parameters
from numpy_rnn.app.experiment import prepare_experiment
from numpy_rnn.app.options import make_options
from numpy_rnn.study.subject import trained_subject
from tests.helpers.lesson import CHECKS, SCRIPTS

BROWSERS = "chromium", "chromium-browser", "google-chrome"
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
]


@pytest.fixture(scope="session")
def small():
    """Return a function that makes the subject of a short run on the sine wave."""

    def make(steps=6, networks=2, **options):
        values = {"hidden_size": 3, "epochs": 3, **options}
        run = prepare_experiment(make_options("study", **values)).run
        return trained_subject("sine wave", run, 0, networks, steps)

    return make


@pytest.fixture(scope="session")
def compute():
    """Return a function that evaluates a check of lesson_checks.js in node."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    scripts = [str(path) for path in [*SCRIPTS, CHECKS]]

    def evaluate(name, argument=None):
        request = json.dumps([scripts, name, argument], default=np.ndarray.tolist)
        command = [node, CHECKS.with_name("run_check.js")]
        run = subprocess.run(command, input=request, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        return json.loads(run.stdout)

    return evaluate


class TinyNetwork(NamedTuple):
    """The network of the exercise, and its numbers in the scripts by their names."""

    params: Parameters
    x: np.ndarray
    target: np.ndarray
    h_0: np.ndarray
    numbers: dict[str, list]


@pytest.fixture(scope="session")
def tiny(compute):
    """Return the tiny network of the page."""
    numbers = compute("exercise")
    params = Parameters(*(np.array(numbers["p"][name]) for name in Parameters._fields))
    x = np.array(numbers["x"][1:])
    target = np.array(numbers["target"][1:])
    return TinyNetwork(params, x, target, np.array(numbers["h_0"]), numbers)


@pytest.fixture(scope="session")
def new_page():
    """Return a function that opens a page of its own in headless Chromium.

    At the end nothing was asked of a network, nor written to the console.
    """
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    sync_api = pytest.importorskip("playwright.sync_api")
    wrong = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=CHROMIUM_OPTIONS
        )

        def open_page(path, **options):
            # Not a tab of another page's window: only the tab in front scrolls and
            # plays.
            page = browser.new_context(offline=True, **options).new_page()
            asked = re.compile("^(?!data:|file:).*")
            page.on("request", lambda request: wrong.extend(asked.findall(request.url)))
            page.on("console", lambda message: wrong.append(message.text))
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.goto(path.as_uri())
            return page

        yield open_page
        browser.close()
    assert wrong == []


@pytest.fixture(scope="session")
def violations():
    """Return a function that lists the rules of accessibility that a page breaks,
    in light, and those of contrast in the dark.
    """
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    # Formulas have the colour of the text, and half of the page's elements.
    but_formulas = {"exclude": [["math"]]}
    # With preload it would load the style again.
    options = {"resultTypes": ["violations"], "preload": False}

    def run(page):
        broken_rules = []
        for scheme, rules in (("light", {}), ("dark", {"runOnly": "color-contrast"})):
            page.emulate_media(color_scheme=scheme)
            response = axe.run(page, but_formulas, options | rules).response
            for violation in response["violations"]:
                first = violation["nodes"][0]["html"]
                broken_rules.append((scheme, violation["id"], first))
        return broken_rules

    return run
