"""Subjects of the study, and a browser for its pages."""

import re
import shutil

import pytest

from numpy_rnn.app.experiment import prepare_experiment
from numpy_rnn.app.options import parse_command
from numpy_rnn.study.subject import study_run

BROWSERS = "chromium", "chromium-browser", "google-chrome"
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
OPTIONS = [
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
        given = (
            f"--{name.replace('_', '-')}={value}" for name, value in values.items()
        )
        words = [word.removesuffix("=True") for word in given]
        configuration = parse_command("numpy_rnn", ["study", *words])
        run = prepare_experiment(configuration).run(configuration.run_options())
        return study_run("sine wave", run, 0, networks, steps)

    return make


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
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)

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
    # With preload it would load the style again.
    options = {"resultTypes": ["violations"], "preload": False}

    def run(page):
        found = []
        for scheme, rules in (("light", {}), ("dark", {"runOnly": "color-contrast"})):
            page.emulate_media(color_scheme=scheme)
            response = axe.run(page, options=options | rules).response
            for one in response["violations"]:
                found.append((scheme, one["id"], one["nodes"][0]["html"]))
        return found

    return run
