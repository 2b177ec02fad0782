"""A real browser for tests: Debian's Chromium, driven over a pipe by its own debugging protocol."""

import itertools
import json
import os
import shutil
import subprocess
import threading
import time
from contextlib import contextmanager

BOUND_S = 30.0


class BrowserSaidNoError(RuntimeError):
    """The browser refused a command."""


class BrowserTab:
    """One open page: runs JavaScript in it, and keeps what it fetched and what its policy blocked."""

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read = write, read
        self._numbers = itertools.count(1)
        self._answers: dict[int, dict] = {}
        self._changed = threading.Condition()
        self._session = ""
        self.requests: list[str] = []
        self.dialogs: list[str] = []
        threading.Thread(target=self._listen, daemon=True).start()
        target = self.command("Target.createTarget", url="about:blank")["targetId"]
        attached = self.command("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            self.command(f"{domain}.enable")

    def open(self, url: str) -> None:
        self.command("Page.navigate", url=url)

    def value(self, script: str):
        """Return what an expression gives in the page."""
        answer = self.command("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, script: str):
        """Ask again and again until an expression is true; return it."""
        ends_at = time.monotonic() + BOUND_S
        while True:
            try:
                found = self.value(script)
            except BrowserSaidNoError:  # the page went on to another one meanwhile
                found = None
            if found or time.monotonic() > ends_at:
                assert found, (script, self.value("document.documentElement.outerHTML"))
                return found
            time.sleep(0.05)

    def command(self, method: str, **params) -> dict:
        number = next(self._numbers)
        call = {"id": number, "method": method, "params": params}
        if self._session:
            call["sessionId"] = self._session
        os.write(self._write, json.dumps(call).encode() + b"\0")
        with self._changed:
            done = self._changed.wait_for(lambda: number in self._answers, BOUND_S)
            assert done, f"the browser does not answer {method}"
            answer = self._answers.pop(number)
        if "error" in answer:
            raise BrowserSaidNoError(answer["error"]["message"])
        return answer["result"]

    def _listen(self) -> None:
        rest = b""
        while chunk := os.read(self._read, 1 << 16):
            *frames, rest = (rest + chunk).split(b"\0")
            for frame in frames:
                self._take(json.loads(frame))

    def _take(self, frame: dict) -> None:
        if "id" in frame:
            with self._changed:
                self._answers[frame["id"]] = frame
                self._changed.notify_all()
        elif frame["method"] == "Network.requestWillBeSent":
            self.requests.append(frame["params"]["request"]["url"])
        elif frame["method"] == "Page.javascriptDialogOpening":
            self.dialogs.append(frame["params"]["message"])


def chromium() -> str | None:
    """Return the browser's command, None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def browser_tab(folder):
    """Run a browser whose profile lies in `folder`, with one empty page."""
    to_read, to_write = os.pipe()
    from_read, from_write = os.pipe()
    command = [
        chromium(),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--remote-debugging-pipe",
        f"--user-data-dir={folder}",
    ]
    # The browser speaks on descriptors 3 and 4.
    script = f'exec 3<&{to_read} 4>&{from_write}; exec "$0" "$@"'
    process = subprocess.Popen(
        ["bash", "-c", script, *command],
        pass_fds=(to_read, from_write),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(to_read)
    os.close(from_write)
    try:
        yield BrowserTab(to_write, from_read)
    finally:
        process.kill()
        process.wait(BOUND_S)
        os.close(to_write)
