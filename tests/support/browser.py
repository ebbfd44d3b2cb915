"""A headless Chromium, driven through WebDriver, that reports what a page logs and requests."""

from __future__ import annotations

import base64
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

from tests.support.servers.provision import Server
from tests.support.waiting import wait_until

__all__ = ["Browser", "open_browser"]

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--hide-scrollbars",
    "--no-proxy-server",
)


class Browser:
    """One tab of a browser.

    Args:
        driver: the connection to it.
    """

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def show(
        self,
        url: str,
        *,
        width: int = 1200,
        height: int = 900,
        dark: bool = False,
        still: bool = False,
    ) -> None:
        """Open a page.

        Args:
            url: of the page.
            width: of the window, in CSS pixels.
            height: of the window.
            dark: whether the user prefers dark colors.
            still: whether the user prefers reduced motion.
        """
        self.leave()
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if still else "no-preference"},
        ]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        self.driver.get(url)

    def leave(self) -> None:
        """Leave the page, for an empty one."""
        self.driver.get("about:blank")

    def run(self, script: str, *arguments: object) -> Any:
        """Run JavaScript in the page; returns the value that it returns."""
        return self.driver.execute_script(script, *arguments)

    def text(self, selector: str) -> str:
        """The visible text of the first element that matches, or an empty text."""
        script = "return document.querySelector(arguments[0])?.innerText.toWellFormed() ?? ''"
        return " ".join(str(self.run(script, selector)).split())

    def wait_for(self, condition: Callable[[], object], what: str, seconds: float = 8.0) -> None:
        """Wait until the condition is true of the page."""
        wait_until(condition, seconds, f"{what}; the page says: {self.text('body')[:2000]}")

    def wait_for_text(self, selector: str, text: str, seconds: float = 8.0) -> None:
        """Wait until the first element that matches has exactly this text."""
        self.wait_for(lambda: self.text(selector) == text, f"{selector} says {text!r}", seconds)

    def press(self, *keys: str) -> None:
        """Press keys, one after the other, by their DOM names, such as ``Tab``."""
        for key in keys:
            codes: dict[str, object] = {**_KEYS[key]}
            for kind in ("keyDown" if "text" in codes else "rawKeyDown", "keyUp"):
                event = {"type": kind, "key": key, "code": key, **codes}
                self.driver.execute_cdp_cmd("Input.dispatchKeyEvent", event)

    def screenshot(self, path: Path) -> None:
        """Write a picture of the whole page."""
        options = {"captureBeyondViewport": True, "format": "png"}
        picture = self.driver.execute_cdp_cmd("Page.captureScreenshot", options)
        path.write_bytes(base64.b64decode(picture["data"]))

    def console(self) -> list[str]:
        """What the page has logged since the last call: errors of scripts, refused resources."""
        return [str(entry["message"]) for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]

    def requests(self) -> list[str]:
        """The URLs that pages have requested since the last call."""
        urls: list[str] = []
        for entry in self.driver.get_log("performance"):  # type: ignore[no-untyped-call]
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                urls.append(str(message["params"]["request"]["url"]))
        return [url for url in urls if not url.startswith(("chrome", "about:", "data:"))]


_KEYS: dict[str, dict[str, object]] = {
    "Tab": {"windowsVirtualKeyCode": 9},
    "Enter": {"windowsVirtualKeyCode": 13, "text": "\r"},
    "ArrowLeft": {"windowsVirtualKeyCode": 37},
    "ArrowRight": {"windowsVirtualKeyCode": 39},
    "Home": {"windowsVirtualKeyCode": 36},
    "End": {"windowsVirtualKeyCode": 35},
}


@contextmanager
def open_browser(server: Server) -> Iterator[Browser]:
    """Start a browser with a profile of its own, and end it afterwards.

    Args:
        server: where Chromium and its driver are.
    """
    environment = dict(os.environ)
    paths = server.paths
    with tempfile.TemporaryDirectory(prefix="leadership-", ignore_cleanup_errors=True) as profile:
        if "libraries" in paths:
            environment["LD_LIBRARY_PATH"] = paths["libraries"]
            environment["FONTCONFIG_SYSROOT"] = str(Path(paths["fonts"]).parents[1])
        environment["HOME"] = environment["XDG_CONFIG_HOME"] = environment["XDG_CACHE_HOME"] = (
            profile
        )
        options = ChromeOptions()
        options.binary_location = paths["chromium"]
        for flag in (*_FLAGS, f"--user-data-dir={profile}/data"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        driver = Chrome(options, Service(paths["chromedriver"], env=environment))
        try:
            yield Browser(driver)
        finally:
            driver.quit()
