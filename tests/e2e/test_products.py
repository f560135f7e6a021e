"""The Flask app at /flask/ shows what was entered in the PHP page."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
import uuid
from html import escape
from typing import Any

import pytest
from selenium.webdriver import Keys

from ansible_collections.flaskops.hosting.tests.e2e.browser import Browser

GROUP = "apache_uwsgi_mysql"
MARKUP = "<script>window.ran = true; alert('ran')</script>"
NAMES = {
    "japanese": "ペン",
    "emoji": "🖊️ 👩‍👩‍👧",
    "quotes": """O'Neill's "pen" \\ `x`""",
    "script": MARKUP,
    "handler": '<img src=x onerror="window.ran = true">',
    "entities": "&lt;b&gt; &amp; &#65;",
    "sql": "'); DELETE FROM product; -- ",
    "longest": "長" * 100,
}
REJECTED = {
    "no name": ("", "100", "name"),
    "a name of spaces": (" \u3000 ", "100", "name"),
    "a name too long": ("長" * 101, "100", "name"),
    "no price": ("{unique}", "", "price"),
    "words": ("{unique}", "twelve", "price"),
    "a fraction": ("{unique}", "1.5", "price"),
    "below zero": ("{unique}", "-1", "price"),
    "an exponent": ("{unique}", "1e3", "price"),
    "more than the column holds": ("{unique}", "2147483648", "price"),
    "far more": ("{unique}", "9" * 30, "price"),
    "markup": (f'"{MARKUP}{{unique}}', "<b>", "price"),
}


def listed(browser: Browser, base_url: str) -> tuple[str, dict[int, dict[str, Any]]]:
    """The JSON at /flask/ as the browser shows it, and its rows by id."""
    browser.open(f"{base_url}/flask/")
    text = str(browser.find("pre").get_property("textContent"))
    return text, {row["id"]: row for row in json.loads(text)}


def fill(browser: Browser, name: str, price: str) -> None:
    """Type into both fields."""
    for field, text in {"#name": name, "#price": price}.items():
        browser.find(field).click()
        browser.insert(text)


def enter(browser: Browser, base_url: str, name: str, price: str) -> None:
    """Open the page, fill in its form and send it."""
    browser.open(f"{base_url}/")
    fill(browser, name, price)
    browser.click("button")


def assert_nothing_ran(browser: Browser) -> None:
    """Only the browser's own script ran: there is no dialog, no trace, no element."""
    assert not browser.has_alert
    assert browser.evaluate("window.ran") is None
    assert browser.evaluate("document.querySelectorAll('script, main img').length") == 0


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_what_is_entered_appears(browser: Browser, base_url: str, name: str) -> None:
    """It is in the page's own list and, with no character escaped, in the app's JSON."""
    _text, before = listed(browser, base_url)
    enter(browser, base_url, name, "100")
    assert (browser.status, browser.find("[role=status]").text) == (200, "The product was added.")
    cells = browser.evaluate("[...document.querySelectorAll('tbody tr:last-child td')].map(cell => cell.textContent)")
    assert cells == [name.strip(), "100"]
    assert_nothing_ran(browser)

    text, after = listed(browser, base_url)
    added = [row for key, row in after.items() if key not in before]
    assert [(row["name"], row["price"]) for row in added] == [(name.strip(), 100)]
    assert json.dumps(name.strip(), ensure_ascii=False) in text
    assert before.items() <= after.items()
    assert_nothing_ran(browser)


@pytest.mark.parametrize(("given", "stored"), [("0", 0), ("007", 7), (" 100\u3000", 100), ("2147483647", 2147483647)])
def test_names_and_prices_are_stored_without_the_spaces_around_them(browser: Browser, base_url: str, given: str, stored: int) -> None:
    """The wide space of a Japanese keyboard is removed too."""
    unique = str(uuid.uuid4())
    enter(browser, base_url, f"\u3000 ペン {unique} \u3000", given)
    _text, rows = listed(browser, base_url)
    assert [row["price"] for row in rows.values() if row["name"] == f"ペン {unique}"] == [stored]


@pytest.mark.parametrize(("name", "price", "wrong"), REJECTED.values(), ids=REJECTED)
def test_wrong_input_is_rejected(browser: Browser, base_url: str, name: str, price: str, wrong: str) -> None:
    """The wrong field has a message, what was typed is still there, and nothing was added."""
    name = name.format(unique=uuid.uuid4())
    _text, before = listed(browser, base_url)
    enter(browser, base_url, name, price)
    assert (browser.status, browser.find("[role=status]").text) == (422, "Nothing was added.")
    problem = browser.find(".problem")
    assert wrong in problem.text
    assert browser.find(f"#{wrong}").get_attribute("aria-describedby") == problem.get_attribute("id")
    assert browser.evaluate("document.querySelectorAll('[aria-invalid]').length") == 1
    assert (browser.find("#name").get_property("value"), browser.find("#price").get_property("value")) == (name.strip(), price)
    assert_nothing_ran(browser)
    _text, after = listed(browser, base_url)
    assert name.strip() not in {row["name"] for row in after.values() if row["id"] not in before}


def test_a_rejected_form_can_be_corrected(browser: Browser, base_url: str) -> None:
    """The page with the message is the form itself."""
    unique = str(uuid.uuid4())
    enter(browser, base_url, unique, "x")
    browser.find("#price").clear()
    browser.find("#price").send_keys("7")
    browser.click("button")
    assert browser.find("[role=status]").text == "The product was added."
    _text, rows = listed(browser, base_url)
    assert [row["price"] for row in rows.values() if row["name"] == unique] == [7]


def test_the_keyboard_is_enough(browser: Browser, base_url: str) -> None:
    """Tab goes from field to field and to the button; Enter sends."""
    unique = str(uuid.uuid4())
    browser.open(f"{base_url}/")
    browser.press(Keys.TAB)
    browser.insert(unique)
    browser.press(Keys.TAB)
    browser.insert("5")
    browser.press(Keys.TAB)
    assert browser.evaluate("document.activeElement.type") == "submit"
    browser.leaving(lambda: browser.press(Keys.ENTER))
    _text, rows = listed(browser, base_url)
    assert [row["price"] for row in rows.values() if row["name"] == unique] == [5]


def test_a_reload_adds_nothing(browser: Browser, base_url: str) -> None:
    """After a product was added, the open page came from a GET request."""
    unique = str(uuid.uuid4())
    enter(browser, base_url, unique, "1")
    browser.leaving(browser.driver.refresh)
    _text, rows = listed(browser, base_url)
    assert [row["price"] for row in rows.values() if row["name"] == unique] == [1]


def test_the_console_stays_empty(browser: Browser, base_url: str) -> None:
    """Nothing is missing and nothing is blocked, not even by the page's own policy; the style sheet applies."""
    enter(browser, base_url, str(uuid.uuid4()), "1")
    assert browser.complaints == []
    assert browser.evaluate("document.styleSheets[0].cssRules.length") > 0


def test_a_screen_reader_can_read_the_page(browser: Browser, base_url: str) -> None:
    """The page has a language, each field a name."""
    browser.open(f"{base_url}/")
    assert browser.find("html").get_attribute("lang") == "en"
    assert [browser.find(field).accessible_name for field in ("#name", "#price")] == ["Name", "Price"]


def test_the_token_is_for_this_site_alone(browser: Browser, base_url: str) -> None:
    """No script reads the cookie, and no other site's form sends it."""
    browser.open(f"{base_url}/")
    (cookie,) = browser.driver.get_cookies()
    assert cookie["httpOnly"] and cookie["sameSite"] == "Strict"
    assert browser.evaluate("document.cookie") == ""


def test_the_form_of_another_site_is_rejected(browser: Browser, base_url: str) -> None:
    """Even if it knows the visitor's token, because the browser does not send the cookie."""
    unique = str(uuid.uuid4())
    browser.open(f"{base_url}/")
    fields = {"name": unique, "price": "1", "token": str(browser.find("[name=token]").get_property("value"))}
    inputs = "".join(f'<input name="{name}" value="{escape(value)}">' for name, value in fields.items())
    form = f'<form method="post" action="{base_url}/">{inputs}<button>A prize</button></form>'
    browser.open("data:text/html," + urllib.parse.quote(form))
    browser.click("button")
    assert browser.status == 403 and "Please try again" in browser.find("[role=status]").text
    assert unique not in browser.driver.page_source
    text, _rows = listed(browser, base_url)
    assert unique not in text


@pytest.mark.parametrize(
    ("cookie", "token"),
    [(None, None), (None, "a" * 64), ("a" * 64, None), ("a" * 64, "b" * 64), ("a" * 64, "a" * 63), ("", ""), ("1", "1")],
    ids=["neither", "no cookie", "no token", "another", "shorter", "empty", "short"],
)
def test_a_forged_request_is_rejected(browser: Browser, base_url: str, cookie: str | None, token: str | None) -> None:
    """Without a token, or with a wrong one."""
    unique = str(uuid.uuid4())
    fields = {"name": unique, "price": "1"} | ({} if token is None else {"token": token})
    headers = {} if cookie is None else {"Cookie": f"product_form={cookie}"}
    request = urllib.request.Request(f"{base_url}/", urllib.parse.urlencode(fields).encode(), headers)
    with pytest.raises(urllib.error.HTTPError) as rejected:
        urllib.request.urlopen(request, timeout=10)
    assert rejected.value.status == 403
    text, _rows = listed(browser, base_url)
    assert unique not in text
