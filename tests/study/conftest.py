"""A browser for the tests of the study's page."""

import re
import shutil

import pytest

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
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
            page = browser.new_context(
                viewport={"width": width, "height": 800}, offline=True, **options
            ).new_page()
            page.on(
                "request",
                lambda request: wrong.extend(re.findall("^(?!data:|file:).*", request.url)),
            )
            page.on("console", lambda message: wrong.append(message.text))
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.goto(path.as_uri())
            return page

        yield open_page
        browser.close()
    assert wrong == []
