"""A browser for tests: headless Chromium by its debugging pipe, with nothing else to install."""

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
WORDS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-default-apps", "--remote-debugging-pipe", "--disable-dev-shm-usage"),
)

KEYS = {
    **{"Tab": (9, ""), "Enter": (13, "\r"), "Space": (32, " ")},
    **{"ArrowRight": (39, ""), "ArrowDown": (40, "")},
}
"""Virtual key codes, and the text that a key types."""


class Browser:
    """One page of Chromium: what it says in its console and asks the network for is kept."""

    def __init__(self, profile: Path):
        to_child, self.send_end = os.pipe()
        self.read_end, from_child = os.pipe()
        line = f'exec "$0" "$@" 3<&{to_child} 4>&{from_child}'
        words = ["bash", "-c", line, CHROMIUM, *WORDS, f"--user-data-dir={profile}"]
        self.process = subprocess.Popen(
            words,
            pass_fds=(to_child, from_child),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_child)
        os.close(from_child)
        self.count, self.rest, self.session = itertools.count(1), b"", None
        self.requests: list[str] = []
        self.problems: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        """End the browser."""
        self.process.terminate()
        self.process.wait(20)
        os.close(self.send_end)
        os.close(self.read_end)

    def call(self, method: str, **parameters) -> dict:
        """Send a command and return its answer."""
        number = next(self.count)
        message = {"id": number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.send_end, json.dumps(message).encode() + b"\0")
        while (answer := self.receive()).get("id") != number:
            self.note(answer)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def receive(self) -> dict:
        """Return the next message."""
        end = time.monotonic() + 60
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.read_end], [], [], max(0, end - time.monotonic()))
            assert ready, "the browser says nothing"
            part = os.read(self.read_end, 1 << 16)
            assert part, "the browser has ended"
            self.rest += part
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def note(self, event: dict) -> None:
        """Keep what an event says of requests and problems."""
        method, facts = event.get("method"), event.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(facts["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(facts["exceptionDetails"])[:400])
        elif method == "Runtime.consoleAPICalled" and facts["type"] in ("error", "warning"):
            self.problems.append(str([a.get("value") for a in facts["args"]]))
        elif method == "Log.entryAdded" and facts["entry"]["level"] in ("error", "warning"):
            self.problems.append(facts["entry"]["text"])

    def open(self, page: Path, width: int, height: int, scripts: bool = True) -> None:
        """Show a file at a width and height, and wait until its scripts are done."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.requests.clear()
        self.problems.clear()
        self.call("Page.navigate", url=page.resolve().as_uri())
        self.wait("document.readyState === 'complete'")

    def evaluate(self, script: str):
        """Return the value of an expression, a promise's when it is kept."""
        options = {"returnByValue": True, "awaitPromise": True}
        found = self.call("Runtime.evaluate", expression=script, **options)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, script: str, seconds: float = 60) -> None:
        """Wait until an expression holds."""
        end = time.monotonic() + seconds
        while not self.evaluate(script):
            assert time.monotonic() < end, f"never: {script}"
            time.sleep(0.05)

    def press(self, key: str, times: int = 1) -> None:
        """Press a key of `KEYS` as a user does."""
        code, text = KEYS[key]
        facts = {"key": text.strip(chr(13)) or key, "code": key, "windowsVirtualKeyCode": code}
        for _ in range(times):
            self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **facts)
            self.call("Input.dispatchKeyEvent", type="keyUp", **facts)

    def picture(self, path: Path, whole: bool = False) -> None:
        """Write what is shown, or the whole page, as PNG."""
        answer = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))
