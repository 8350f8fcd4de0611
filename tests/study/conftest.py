"""A browser for the tests of the study's page."""

import re
import shutil

import pytest
from study_runs import small

from numpy_rnn.study.components.measures import explorer
from numpy_rnn.study.page import page as pages
from numpy_rnn.study.page.document import equation
from numpy_rnn.study.page.formulas import formula

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]


@pytest.fixture(scope="session")
def new_page():
    """Opens a page of its own in headless Chromium. At the end: nothing was asked of a network, and nothing was written
    to the console.
    """
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    sync_api = pytest.importorskip("playwright.sync_api")
    wrong = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)

        def open_page(path, width=1280, **options):
            # Not a tab of another page's window: only the tab in front scrolls and plays.
            page = browser.new_context(viewport={"width": width, "height": 800}, offline=True, **options).new_page()
            page.on("request", lambda request: wrong.extend(re.findall("^(?!data:|file:).*", request.url)))
            page.on("console", lambda message: wrong.append(message.text))
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.goto(path.as_uri())
            return page

        yield open_page
        browser.close()
    assert wrong == []


@pytest.fixture(scope="session")
def live_page(new_page, tmp_path_factory):
    """Opens a page of some sections that move, without the others; its data are those of a subject."""

    def opened(*sections, subject=None, **options):
        texts = {name: (pages.HERE / f"sections/{name}.html").read_text(encoding="utf-8") for name in sections}
        data, path = explorer(subject or small(6, 1, epochs=2)), tmp_path_factory.mktemp("page") / "page.html"
        inserts = {"equation": equation, "formula": formula, "reference": str}
        path.write_text(pages.assembled(texts, {"explorer": data}, inserts), encoding="utf-8")
        return new_page(path, **options)

    return opened
