"""A headless Chromium for tests, driven over its DevTools protocol: pages from disk, and all that went wrong on them."""

import contextlib
import itertools
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from websockets.sync.client import ClientConnection, connect

_SECONDS = 30
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-extensions", "--disable-dev-shm-usage"),
    *("--remote-debugging-port=0", "about:blank"),
)

Reply = dict[str, Any]


def executable() -> str | None:
    """Where Chromium is, None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Browser:
    """One Chromium with one page while the `with` block runs.

    `complaints` are what the console, uncaught exceptions and the browser's own log said since the page was opened,
    `requests` the URLs that were asked for, `dialogs` how many boxes a script opened.
    """

    def __init__(self) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.dialogs = 0
        self._numbers = itertools.count(1)
        self._session: str | None = None
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._folder = tempfile.mkdtemp(prefix="wsprobe-browser-")
        self._process = subprocess.Popen(
            [executable() or "chromium", f"--user-data-dir={self._folder}", *_FLAGS],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            self._wire = self._open.enter_context(self._connected())
            target = self.call("Target.createTarget", url="about:blank")["targetId"]
            self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network", "DOM", "Accessibility"):
                self.call(f"{domain}.enable")
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._open.close()
        self._stop()

    def _stop(self) -> None:
        self._process.terminate()
        self._process.wait(_SECONDS)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _connected(self) -> ClientConnection:
        told = Path(self._folder) / "DevToolsActivePort"
        deadline = time.monotonic() + _SECONDS
        while not told.exists() or "\n" not in told.read_text():
            assert self._process.poll() is None, "Chromium did not start"
            assert time.monotonic() < deadline, "Chromium did not listen"
            time.sleep(0.02)
        port, path = told.read_text().split("\n")[:2]
        return connect(f"ws://127.0.0.1:{port}{path}", max_size=None, proxy=None)

    def call(self, method: str, **parameters: object) -> Reply:
        """One command and its result; what happens meanwhile is kept."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        self._wire.send(json.dumps(message | ({"sessionId": self._session} if self._session else {})))
        while True:
            got = self._next()
            if got.get("id") == number:
                assert "error" not in got, (method, got["error"])
                result: Reply = got["result"]
                return result

    def _next(self) -> Reply:
        got: Reply = json.loads(self._wire.recv(_SECONDS))
        method, told = got.get("method", ""), got.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.complaints.append(str(told["exceptionDetails"]))
        elif method in {"Runtime.consoleAPICalled", "Log.entryAdded"}:
            self.complaints.append(str(told.get("entry", told)))
        elif method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif method == "Page.javascriptDialogOpening":
            self.dialogs += 1
            number = next(self._numbers)
            answer = {"id": number, "method": "Page.handleJavaScriptDialog", "params": {"accept": True}}
            self._wire.send(json.dumps(answer | {"sessionId": self._session}))
        return got

    def open(self, file: Path, fragment: str = "") -> None:
        """Opens a file and waits until it is loaded."""
        self.call("Page.navigate", url="about:blank")
        self.complaints, self.requests, self.dialogs = [], [], 0
        self.call("Page.navigate", url=f"{file.as_uri()}{fragment}")
        self.run("new Promise(done => document.readyState === 'complete' ? done() : addEventListener('load', done))")

    def size(self, width: int, height: int = 900) -> None:
        """Gives the page a width."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def media(self, scheme: str = "light", media: str = "screen") -> None:
        """Light or dark, screen or print."""
        self.call(
            "Emulation.setEmulatedMedia",
            media=media,
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )

    def run(self, script: str) -> Any:  # noqa: ANN401  whatever the script gives
        """The value of an expression on the page."""
        done = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def press(self, key: str, text: str = "") -> None:
        """A key, down and up."""
        code = {"Tab": 9, "Enter": 13, " ": 32}.get(key, 0)
        common = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def type(self, words: str) -> None:
        """Text into what has the focus."""
        self.call("Input.insertText", text=words)
