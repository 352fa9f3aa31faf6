"""A real browser, told what to do by pipes: pages are opened, typed into and looked at."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final

from tests.conftest import PLACES

__all__ = ["Browser", "browsing"]

FLAGS: Final = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--remote-debugging-pipe", "--disable-dev-shm-usage"),
)
WRAPPER: Final = (
    "import fcntl, os, sys; spare = [fcntl.fcntl(int(one), fcntl.F_DUPFD, 10) for one in sys.argv[1:3]];"
    "[os.dup2(one, number) for one, number in zip(spare, (3, 4))]; os.execv(sys.argv[3], sys.argv[3:])"
)
"""Starts a browser, which reads from its descriptor 3 and writes to 4."""
WAIT: Final = 60_000
"""Milliseconds that a page may take to show something."""


class Browser:
    """One page of a browser."""

    def __init__(self, to: int, answers: int) -> None:
        self._to, self._answers = to, answers
        self._numbers = count(1)
        self._rest = b""
        self.requested: list[str] = []
        """The URLs of everything that was asked for."""
        self.complaints: list[str] = []
        """What the page's console has."""
        target = self._call("Target.createTarget", None, url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", None, targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """Do something with the page, as the DevTools protocol calls it."""
        return self._call(method, self._session, **parameters)

    def open(self, url: str, *, dark: bool = False, width: int = 1000) -> None:
        """Open a page."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=300, deviceScaleFactor=1, mobile=False
        )
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && !!document.body.children.length")

    def evaluate(self, script: str) -> Any:
        """Return what an expression is worth in the page."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, condition: str) -> None:
        """Wait until a condition holds in the page."""
        waited = self.evaluate(
            "new Promise((done) => { const begun = Date.now(); const look = () => "
            f"({condition}) ? done(true) : Date.now() - begun > {WAIT} ? done(false) : setTimeout(look, 20); "
            "look(); })"
        )
        assert waited, condition + ": " + str(self.evaluate("document.body.innerText"))

    def type(self, text: str) -> None:
        """Type into whatever has the focus."""
        self.call("Input.insertText", text=text)

    def press(self, key: str) -> None:
        """Press a key and let it go."""
        codes = {"Enter": (13, "\r"), "Tab": (9, ""), "/": (191, "/")}
        code, text = codes[key]
        named = {"key": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", **named, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **named)

    def screenshot(self) -> bytes:
        """Return what is drawn, as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def _call(self, method: str, session: str | None, **parameters: Any) -> Any:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        octets = json.dumps(message).encode() + b"\0"
        while octets:
            octets = octets[os.write(self._to, octets) :]
        while True:
            found = self._next()
            if found.get("id") == number:
                assert "error" not in found, found
                return found["result"]
            self._note(found)

    def _next(self) -> Any:
        while b"\0" not in self._rest:
            piece = os.read(self._answers, 1 << 16)
            assert piece, "the browser ended"
            self._rest += piece
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def _note(self, event: Any) -> None:
        match event.get("method"):
            case "Network.requestWillBeSent":
                self.requested.append(event["params"]["request"]["url"])
            case "Log.entryAdded":
                self.complaints.append(event["params"]["entry"]["text"])
            case "Runtime.exceptionThrown":
                self.complaints.append(str(event["params"]["exceptionDetails"]))


@contextmanager
def browsing(place: Path) -> Iterator[Browser]:
    """Start a browser that knows nothing yet."""
    theirs, ours = os.pipe()
    answers, out = os.pipe()
    program = next(path for folder in PLACES.split(os.pathsep) if (path := Path(folder, "chromium")).exists())
    flags = [*FLAGS, f"--user-data-dir={place / 'browser'}"]
    process = subprocess.Popen(
        [sys.executable, "-c", WRAPPER, str(theirs), str(out), str(program), *flags],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(theirs, out),
        env=os.environ | {"HOME": str(place)},
    )
    os.close(theirs)
    os.close(out)
    try:
        yield Browser(ours, answers)
    finally:
        os.close(ours)
        os.close(answers)
        process.kill()
        process.wait(60)
