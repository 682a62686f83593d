# SPDX-License-Identifier: LGPL-2.1-or-later
"""A headless Chromium, driven over its debugging pipe."""
import base64
import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import tempfile
import time

MISSING = pathlib.Path(__file__).resolve().parent.parent.parent / "build" / "browser-missing.txt"


def program():
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def why_missing():
    """A reason to skip, None when there is a browser."""
    if program():
        return None
    return MISSING.read_text().strip() if MISSING.exists() else "there is no Chromium (scripts/setup browser installs it)"


class Chromium:
    """One browser with one page. `complaints` are console messages and exceptions of the page."""

    def __init__(self):
        self.profile = tempfile.mkdtemp(prefix="godwit-chromium-")
        to_read, self.to_write = os.pipe()
        self.to_read, to_write = os.pipe()
        # The browser reads from its descriptor 3 and writes to 4.
        command = ["bash", "-c", f'exec "$@" 3<&{to_read} 4>&{to_write}', "chromium", program(), "--headless", "--no-sandbox", "--disable-gpu",
                   "--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe", f"--user-data-dir={self.profile}", "about:blank"]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        pass_fds=(to_read, to_write), start_new_session=True,
                                        env={**os.environ, "TMPDIR": self.profile})
        os.close(to_read)
        os.close(to_write)
        self.buffer, self.last, self.session, self.complaints, self.events = b"", 0, None, [], []
        targets = self.ask("Target.getTargets")["targetInfos"]
        page = next(t["targetId"] for t in targets if t["type"] == "page")
        self.session = self.ask("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method, **params):
        self.last += 1
        request = {"id": self.last, "method": method, "params": params} | ({"sessionId": self.session} if self.session else {})
        os.write(self.to_write, json.dumps(request).encode() + b"\0")
        while True:
            message = self._next()
            if message.get("id") == self.last:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]

    def _next(self, seconds=60 * float(os.environ.get("GODWIT_TEST_PATIENCE", "1"))):
        deadline = time.monotonic() + seconds
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.to_read], [], [], max(0, deadline - time.monotonic()))
            data = os.read(self.to_read, 1 << 16) if ready else b""
            if not data:
                raise RuntimeError("the browser does not answer")
            self.buffer += data
        raw, _, self.buffer = self.buffer.partition(b"\0")
        message = json.loads(raw)
        if message.get("method") in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            self.complaints.append(message["params"])
        if "method" in message:
            self.events.append(message)
        return message

    def open(self, path, width=1000, height=900, scheme="light"):
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.events.clear()
        self.ask("Page.navigate", url=pathlib.Path(path).as_uri())
        while not any(e["method"] == "Page.loadEventFired" for e in self.events):
            self._next()

    def requests(self):
        return [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]

    def value(self, expression):
        return self.ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def screenshot(self, whole=True):
        """PNG of the whole page, or of what the window shows."""
        return base64.b64decode(self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"])

    def pdf(self):
        return base64.b64decode(self.ask("Page.printToPDF", paperWidth=8.27, paperHeight=11.69, printBackground=True)["data"])

    def close(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        os.close(self.to_write)
        os.close(self.to_read)
        shutil.rmtree(self.profile, ignore_errors=True)
