"""The documented app behind nginx, at / and under /your/path: every address in its pages is below its mount."""

from __future__ import annotations

import urllib.request

import pytest

from ansible_collections.flaskops.hosting.tests.e2e.browser import Browser

GROUP = "nginx_uwsgi"


@pytest.fixture(params=["", "/your/path"], ids=["root", "mounted"])
def app_url(request: pytest.FixtureRequest, base_url: str) -> str:
    """The app's URL, without a slash at its end."""
    return f"{base_url}{request.param}"


def addresses(browser: Browser) -> set[str]:
    """All links of the open page to its own host, and everything that it has loaded."""
    links = browser.evaluate("[...document.querySelectorAll('a')].map(link => link.href)")
    loaded = browser.evaluate("[...document.styleSheets].map(sheet => sheet.href)")
    return {*links, *loaded}


def test_the_heading_is_blue(browser: Browser, app_url: str) -> None:
    """The template's message, in the style sheet's colour."""
    browser.open(f"{app_url}/")
    heading = browser.find("h1")
    assert (browser.status, heading.text) == (200, "Hello from basic_flask")
    assert heading.value_of_css_property("color") == "rgba(0, 0, 255, 1)"
    assert browser.complaints == []


def test_links_and_redirects_stay_under_the_mount(browser: Browser, app_url: str) -> None:
    """Links and the app's redirect lead from page to page."""
    browser.open(f"{app_url}/")
    assert addresses(browser) == {f"{app_url}/about", f"{app_url}/static/style.css"}
    browser.click("a")
    assert (browser.url, browser.find("h1").text) == (f"{app_url}/about", "About basic_flask")
    assert addresses(browser) == {f"{app_url}/", f"{app_url}/static/style.css"}
    browser.click("a")
    assert (browser.url, browser.find("h1").text) == (f"{app_url}/", "Hello from basic_flask")
    browser.open(f"{app_url}/go")
    assert (browser.url, browser.find("h1").text) == (f"{app_url}/about", "About basic_flask")
    assert browser.complaints == []


def test_the_mount_without_its_slash_leads_to_the_app(browser: Browser, app_url: str) -> None:
    """People type the address without the last slash."""
    browser.open(app_url)
    assert (browser.url, browser.find("h1").text) == (f"{app_url}/", "Hello from basic_flask")


def test_the_style_sheet_comes_from_the_front(app_url: str) -> None:
    """If Flask served it, the answer would have a Content-Disposition."""
    with urllib.request.urlopen(f"{app_url}/static/style.css", timeout=10) as answer:
        assert answer.headers.get_content_type() == "text/css"
        assert answer.headers["Content-Disposition"] is None
        assert answer.headers["Server"] == "nginx"
