"""What a visitor does in a browser, and what a developer sees in its console."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selenium.common.exceptions import NoAlertPresentException
from selenium.webdriver import ActionChains, Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

PAGE_SECONDS = 10
CHROMIUM, CHROMEDRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
# Without a screen, and without the browser's own requests.
FLAGS = (
    "--headless --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --window-size=1200,900"
).split()


def start_chromium(home: Path, *flags: str) -> Chrome:
    """Chromium with an empty profile; what is below `home`, such as the root certificates that it trusts, is its user's."""
    assert CHROMIUM.exists() and CHROMEDRIVER.exists(), "Chromium or its driver is missing: run dev/browser"
    options = ChromeOptions()
    options.binary_location = str(CHROMIUM)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # Chromium does not sandbox itself as root.
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    for flag in [*FLAGS, *flags, *sandbox, f"--user-data-dir={home / 'profile'}"]:
        options.add_argument(flag)
    # Set explicitly, so that selenium does not download a driver.
    driver = Chrome(options, ChromeService(str(CHROMEDRIVER), env={**os.environ, "HOME": str(home)}))
    driver.set_page_load_timeout(20)
    return driver


@dataclass(frozen=True)
class Browser:
    """A browser with one page open."""

    driver: Chrome

    def open(self, url: str) -> None:
        """Open a page, as with the address bar."""
        self.driver.get(url)

    def find(self, selector: str) -> WebElement:
        """The first element of a CSS selector."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        return self.driver.execute_script(f"return {expression}")

    def insert(self, text: str) -> None:
        """Type into the focused field as an input method does, because the driver's own keys have no emoji."""
        self.driver.execute_cdp_cmd("Input.insertText", {"text": text})

    def press(self, key: str) -> None:
        """Press a key in the element that has the focus."""
        ActionChains(self.driver).send_keys(key).perform()

    def click(self, selector: str) -> None:
        """Click on something that opens another page, and wait for that page."""
        self.leaving(self.find(selector).click)

    def leaving(self, action: Callable[[], object]) -> None:
        """Do something that opens another page, and wait until it has loaded."""
        # A mark that the next page does not have, because the driver fails when it is asked for an element of a page that is being left.
        self.driver.execute_script("window.leaving = true")
        action()
        arrived = "return !window.leaving && document.readyState === 'complete'"
        WebDriverWait(self.driver, PAGE_SECONDS).until(lambda driver: driver.execute_script(arrived))

    @property
    def url(self) -> str:
        """The open page's address."""
        return self.driver.current_url

    @property
    def status(self) -> int:
        """The HTTP status of the open page."""
        return int(self.evaluate("performance.getEntriesByType('navigation')[0].responseStatus"))

    @property
    def complaints(self) -> list[str]:
        """The console's warnings and errors since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("WARNING", "SEVERE")]

    @property
    def has_alert(self) -> bool:
        """Whether a script has opened a dialog."""
        try:
            self.driver.switch_to.alert.dismiss()
        except NoAlertPresentException:
            return False
        return True
