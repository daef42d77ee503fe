"""A headless Chromium, driven by ChromeDriver's own protocol: what a page draws, says and asks for."""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
MISSING = None if CHROMIUM and DRIVER else "chromium and chromedriver are not installed"
FLAGS = (
    *("--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
)
KEYS = {"ArrowRight": "\ue014", "ArrowLeft": "\ue012", "Tab": "\ue004", "End": "\ue010", "Space": " "}


class Browser:
    """A page in a browser."""

    def __init__(self, driver, session):
        self._url = f"{driver}/session/{session}"

    def _call(self, path, **body):
        return _post(f"{self._url}/{path}", body)

    def look(self, url, width=1440, dark=False):
        """Opens a page in a window of some width."""
        self._cdp(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._cdp("Emulation.setEmulatedMedia", features=scheme)
        self._call("url", url=url)

    def _cdp(self, command, **parameters):
        return self._call("goog/cdp/execute", cmd=command, params=parameters)

    def run(self, script, *arguments):
        """Returns what a script returns."""
        return self._call("execute/sync", script=script, args=arguments)

    def press(self, *keys):
        """Presses keys, one after another, in what has the focus."""
        actions = [{"type": kind, "value": KEYS[key]} for key in keys for kind in ("keyDown", "keyUp")]
        self._call("actions", actions=[{"type": "key", "id": "keys", "actions": actions}])

    def wait(self, script, seconds=60):
        """Waits until a script returns something true, and returns it."""
        ends = time.monotonic() + seconds
        while not (found := self.run(script)):
            assert time.monotonic() < ends, f"it never came to be: {script}"
            time.sleep(0.2)
        return found

    def said(self):
        """Returns what the console has said since the last time."""
        return [entry["message"] for entry in self._call("se/log", type="browser")]

    def requests(self):
        """Returns the addresses that were asked for since the last time."""
        events = [json.loads(each["message"])["message"] for each in self._call("se/log", type="performance")]
        return [each["params"]["request"]["url"] for each in events if each["method"] == "Network.requestWillBeSent"]

    def picture(self, whole=True):
        """Returns a screenshot of the page as PNG."""
        return base64.b64decode(self._cdp("Page.captureScreenshot", captureBeyondViewport=whole)["data"])


@contextlib.contextmanager
def browser():
    """Yields a `Browser`."""
    flags = [*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with tempfile.TemporaryDirectory() as profile:
        driver = subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            for line in driver.stdout:
                if "started successfully on port" in line:
                    port = line.rsplit("port ", 1)[1].rstrip(".\n")
                    break
            url = f"http://127.0.0.1:{port}"
            options = {"binary": CHROMIUM, "args": [*flags, f"--user-data-dir={profile}"]}
            logs = {"browser": "ALL", "performance": "ALL"}
            wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": logs}
            session = _post(f"{url}/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
            try:
                yield Browser(url, session)
            finally:
                urllib.request.urlopen(urllib.request.Request(f"{url}/session/{session}", method="DELETE")).close()
        finally:
            driver.terminate()
            driver.stdout.close()
            driver.wait()


def _post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        raise AssertionError(json.load(error)["value"]["message"]) from None
