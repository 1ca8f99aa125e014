"""A headless browser for tests, with pages to look at, to click and to type in.

Driven through the browser's own debugging pipe, without a driver program.  Whoever asks waits for what must happen,
never for a time.
"""

from __future__ import annotations

import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
    "--disable-background-networking", "--window-size=1400,900", "--remote-debugging-pipe",
)  # fmt: skip
PATIENCE = 200  # seconds, on the slowest machine

# Becomes the browser, which reads orders from its file descriptor 3 and answers on 4.
_CONNECTED = """
import os, sys
own = [os.dup(int(number)) for number in sys.argv[1:3]]
while min(own) < 5:
    own = [os.dup(number) for number in own]
for number, to in zip(own, (3, 4)):
    os.dup2(number, to)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Gone(Exception):
    """There is no browser, or no longer."""


class Browser:
    """A running browser; `Gone` if none starts."""

    def __init__(self, profile: Path) -> None:
        if BROWSER is None:
            raise Gone("no chromium is installed")
        self._numbers = itertools.count(1)
        self._rest = b""
        self._read, answers = os.pipe()
        orders, self._write = os.pipe()
        command = [BROWSER, *OPTIONS, f"--user-data-dir={profile}", "about:blank"]
        started = [sys.executable, "-c", _CONNECTED, str(orders), str(answers), *command]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(started, pass_fds=(orders, answers), stdout=quiet, stderr=quiet)
        os.close(orders)
        os.close(answers)
        try:
            self.order("", "Browser.getVersion")
        except Gone:
            self.close()
            raise

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        os.close(self._read)
        os.close(self._write)

    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    @contextmanager
    def page(self, address: str) -> Iterator[Page]:
        """A page that has said in its body that it is ready."""
        target = self.order("", "Target.createTarget", url="about:blank")["targetId"]
        session = self.order("", "Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        page.order("Page.enable")
        page.order("Page.navigate", url=address)
        page.until("document.body && (document.body.dataset.ready === '1' || 'error' in document.body.dataset)")
        yield page
        self.order("", "Target.closeTarget", targetId=target)

    def order(self, session: str, method: str, **parameters: Any) -> dict[str, Any]:
        """Have something done, and its result."""
        number = next(self._numbers)
        order = {"id": number, "method": method, "params": parameters} | ({"sessionId": session} if session else {})
        try:
            os.write(self._write, json.dumps(order).encode() + b"\0")
        except BrokenPipeError:
            raise Gone("the browser has ended") from None
        while True:
            answer = self._answer()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]  # type: ignore[no-any-return]

    def _answer(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], PATIENCE)
            more = os.read(self._read, 1 << 20) if ready else b""
            if not more:
                raise Gone("the browser has ended, or does not answer")
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\0")
        return json.loads(line)  # type: ignore[no-any-return]


class Page:
    """One page, with mouse and keys."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser, self._session = browser, session

    def order(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Have something done in this page."""
        return self._browser.order(self._session, method, **parameters)

    def state(self, name: str) -> str:
        """One of the data attributes of the body."""
        return str(self.value(f"document.body.dataset[{json.dumps(name)}]"))

    def value(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        done = self.order("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def until(self, expression: str) -> None:
        """Come back when the expression is true."""
        deadline = time.monotonic() + PATIENCE
        while not self.value(expression):
            assert time.monotonic() < deadline, f"{expression} does not come true"
            time.sleep(0.02)

    def middle(self, selector: str) -> tuple[float, float]:
        """Where an element is on the screen."""
        rect = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
        x, y = self.value(f"(r => [r.x + r.width / 2, r.y + r.height / 2])({rect})")
        return x, y

    def click(self, x: float, y: float, times: int = 1) -> None:
        """Press and release the left button, so many times."""
        for count in range(1, times + 1):
            self.mouse("mousePressed", x, y, button="left", clickCount=count)
            self.mouse("mouseReleased", x, y, button="left", clickCount=count)

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """One event of the mouse."""
        self.order("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def press(self, key: str) -> None:
        """One key; a single character is typed."""
        text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        self.order("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.order("Input.dispatchKeyEvent", type="keyUp", key=key)
