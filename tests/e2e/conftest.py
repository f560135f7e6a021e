"""A real browser, and the address that it opens: a host of the scenario's inventory, or `--base-url`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from testinfra.host import Host

from ansible_collections.flaskops.hosting.tests.e2e.browser import Browser

# A hook: pytest must find it here too.
from ansible_collections.flaskops.hosting.tests.infra.conftest import pytest_configure  # noqa: F401  # pylint: disable=unused-import

CHROMIUM, CHROMEDRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
# Without a screen, and without the browser's own requests.
FLAGS = (
    "--headless --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --window-size=1200,900"
).split()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the tests run against any host that serves the app, without an inventory."""
    parser.addoption("--base-url", help="the address of the host to test, such as http://192.0.2.10")


@pytest.fixture
def base_url(request: pytest.FixtureRequest, host: Host) -> str:
    """The host's address, without a slash at its end; hosts of another group than the module's GROUP are skipped."""
    if given := request.config.getoption("--base-url"):
        return str(given).rstrip("/")
    variables = host.ansible.get_variables()
    if request.module.GROUP not in variables["group_names"]:
        pytest.skip("a host of another topology")
    return f"http://{variables['ansible_host']}"


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """Chromium with a profile of its own."""
    assert CHROMIUM.exists() and CHROMEDRIVER.exists(), "Chromium or its driver is missing: run dev/browser"
    options = ChromeOptions()
    options.binary_location = str(CHROMIUM)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # Chromium does not sandbox itself as root.
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    for flag in [*FLAGS, *sandbox, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"]:
        options.add_argument(flag)
    # Set explicitly, so that selenium does not download a driver.
    driver = Chrome(options, ChromeService(str(CHROMEDRIVER)))
    driver.set_page_load_timeout(20)
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium: Chrome) -> Browser:
    """The browser as before its first visit: no page, no cookies, an empty console."""
    chromium.get("about:blank")
    chromium.execute_cdp_cmd("Network.clearBrowserCookies", {})
    chromium.get_log("browser")
    return Browser(chromium)
