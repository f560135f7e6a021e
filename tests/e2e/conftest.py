"""A real browser, and the address that it opens: a host of the scenario's inventory, or `--base-url`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome
from testinfra.host import Host

from ansible_collections.flaskops.hosting.tests.e2e.browser import Browser, start_chromium

# Hooks: pytest must find them here too.
from ansible_collections.flaskops.hosting.tests.infra.conftest import (  # noqa: F401  # pylint: disable=unused-import
    pytest_collection_modifyitems,
    pytest_configure,
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the tests run against any host that serves the app, without an inventory."""
    parser.addoption("--base-url", help="the address of the host to test, such as http://192.0.2.10")


@pytest.fixture
def base_url(request: pytest.FixtureRequest, host: Host) -> str:
    """The host's address, without a slash at its end."""
    given = request.config.getoption("--base-url")
    return str(given or f"http://{host.ansible.get_variables()['ansible_host']}").rstrip("/")


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """Chromium with a profile of its own."""
    driver = start_chromium(tmp_path_factory.mktemp("chromium"))
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium: Chrome) -> Browser:
    """The browser as before its first visit: no page, no cookies, an empty console."""
    chromium.get("about:blank")
    chromium.execute_cdp_cmd("Network.clearBrowserCookies", {})
    chromium.get_log("browser")
    return Browser(chromium)
