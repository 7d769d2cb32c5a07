"""A real browser without a window, led over its own protocol through a pipe: pages are opened, used and looked at."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)
PIPED = 'exec "$@" 3<&"$COMMANDS" 4>&"$ANSWERS"'  # what --remote-debugging-pipe reads and writes
KEYS = {"Tab": 9, "ArrowLeft": 37, "ArrowRight": 39, "End": 35, "Home": 36, " ": 32}


def find() -> str | None:
    """A Chromium on this machine."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Page:
    """One page of a browser.  `problems`: errors that its script or its policy reported."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers, self._rest = commands, answers, b""
        self._numbers = itertools.count(1)
        self._session = ""
        self.problems: list[str] = []
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for room in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{room}.enable")

    def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        """Give a command and wait for its answer."""
        number = next(self._numbers)
        session = {"sessionId": self._session} if self._session else {}
        os.write(
            self._commands,
            json.dumps({"id": number, "method": method, "params": arguments, **session}).encode() + b"\0",
        )
        while True:
            message = self._read()
            if message.get("id") == number:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            block = os.read(self._answers, 1 << 16)
            assert block, "the browser is gone"
            self._rest += block
        line, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        values = message.get("params", {})
        match message.get("method"):
            case "Runtime.exceptionThrown":
                self.problems.append(str(values["exceptionDetails"]))
            case "Log.entryAdded":
                self.problems.append(values["entry"]["text"])
            case "Network.requestWillBeSent":
                self.requests.append(values["request"]["url"])
        return message

    def size(self, width: int, height: int, phone: bool = False) -> None:
        """Of the window, in pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)

    def scheme(self, name: str) -> None:
        """`light` or `dark`, as the user's system prefers."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def open(self, path: Path) -> None:
        """Load a file, until it is complete."""
        self.call("Page.navigate", url=path.absolute().as_uri())
        self.wait("document.readyState === 'complete' && location.protocol === 'file:'")

    def get(self, script: str) -> Any:
        """The value of an expression, awaited where it is a promise."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        """Until an expression is true."""
        done = f"new Promise((y, n) => {{ const t = Date.now(); (function look() {{ if ({condition}) y(true); "
        done += "else if (Date.now() - t > 20000) y(false); else setTimeout(look, 20) })() })"
        assert self.get(done), f"never true: {condition}"

    def press(self, key: str, times: int = 1) -> None:
        """A key."""
        for _ in range(times):
            for kind in ("rawKeyDown", "keyUp"):
                self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=KEYS[key])

    def click(self, x: float, y: float) -> None:
        """At a place in the window."""
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def box(self, selector: str) -> dict[str, float]:
        """Where an element is in the window, after it was scrolled to: left, top, width, height."""
        script = f"const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: 'center'}}); "
        found: dict[str, float] = self.get(f"(() => {{ {script} return e.getBoundingClientRect().toJSON() }})()")
        return found

    def picture(self) -> NDArray[np.uint8]:
        """The window as RGB [H, W, 3]."""
        content = base64.b64decode(self.call("Page.captureScreenshot")["data"])
        decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        assert decoded is not None
        return np.asarray(decoded[..., ::-1], np.uint8)


@contextmanager
def opened(folder: Path) -> Iterator[Page]:
    """A browser with one page; its profile is in a folder."""
    program = find()
    assert program is not None
    (to_read, commands), (answers, to_write) = os.pipe(), os.pipe()
    process = subprocess.Popen(
        ["bash", "-c", PIPED, "bash", program, *FLAGS, f"--user-data-dir={folder}", "--remote-debugging-pipe"],
        pass_fds=(to_read, to_write),
        env={**os.environ, "COMMANDS": str(to_read), "ANSWERS": str(to_write)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_read)
    os.close(to_write)
    try:
        page = Page(commands, answers)
        yield page
        page.call("Browser.close")
        process.wait(20)
    finally:
        process.kill()
        process.wait()
        os.close(commands)
        os.close(answers)
