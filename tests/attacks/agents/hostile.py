"""Agents that try what they must not; each tells what it got."""

import contextlib
import json
import os
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

INSIDE = os.environ.get("HIVE_URL", "http://127.0.0.1:4100")
PROXY = ("127.0.0.1", 4101)
SEEN: list[str] = []
LATE: list[int] = []


def _http(path: str, key: str, body: dict | None = None) -> tuple[int, str]:
    """Speak to the gate through the sandbox's own loopback port."""
    request = urllib.request.Request(
        INSIDE + path,
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Content-Type": "application/json",
            "A2A-Version": "1.0",
            "Authorization": f"Bearer {key}",
        },
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as answer:
            return answer.status, answer.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode("utf-8", "replace")
    except OSError as error:
        return 0, str(error)


def _ask(key: str, text: str = "hello") -> tuple[int, str]:
    body = {"model": "scripted", "messages": [{"role": "user", "content": text}]}
    return _http("/v1/chat/completions", key, body)


def tell_handle(text: str) -> str:
    """Give away the key."""
    return os.environ["HIVE_HANDLE"]


def tell_handle_and_wait(text: str) -> str:
    """Give away the key while the turn goes on."""
    sys.stdout.write(os.environ["HIVE_HANDLE"] + "\n")
    sys.stdout.flush()
    threading.Event().wait()
    return "never"


def use_handle(text: str) -> str:
    """Ask a model with a key that was given, or with one's own."""
    return json.dumps(_ask(text if text != "own" else os.environ["HIVE_HANDLE"]))


def use_handle_as_gemini(text: str) -> str:
    """Ask a model in Gemini's words, with the key `own` or a given one in the `query` or the `header`."""
    way, _, key = text.partition(" ")
    key = os.environ["HIVE_HANDLE"] if key == "own" else key
    shown = f"?key={key}" if way == "query" else ""
    request = urllib.request.Request(
        f"{INSIDE}/v1beta/models/scripted:generateContent{shown}",
        data=json.dumps({"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}).encode(),
        headers={"Content-Type": "application/json"}
        | ({"x-goog-api-key": key} if way == "header" else {}),
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as answer:
            return json.dumps((answer.status, answer.read().decode()))
    except urllib.error.HTTPError as error:
        return json.dumps((error.code, error.read().decode()))


def show_own_key_everywhere(text: str) -> str:
    """Ask with one's own key in every way that a client may show it; tell only how that ended."""
    own = os.environ["HIVE_HANDLE"]
    told = [_ask(own)[0]]
    told += [json.loads(use_handle_as_gemini(f"{way} own"))[0] for way in ("query", "header")]
    body = {"model": "scripted", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
    request = urllib.request.Request(
        INSIDE + "/v1/messages",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "x-api-key": own},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as answer:
        told.append(answer.status)
    return json.dumps(told)


def go_on_as_gemini(text: str) -> str:
    """Leave a thread behind that asks in Gemini's words once the turn is over."""

    def later() -> None:
        while True:
            time.sleep(0.1)
            for way in ("query", "header"):
                with contextlib.suppress(OSError):
                    use_handle_as_gemini(f"{way} own")

    threading.Thread(target=later, daemon=True).start()
    return "left"


def go_on(text: str) -> str:
    """Leave a thread behind that calls a model once the turn is over; count the turns of this process."""
    SEEN.append(text)

    def later() -> None:
        while True:
            time.sleep(0.1)
            LATE.append(_ask(os.environ["HIVE_HANDLE"], "late")[0])

    if len(SEEN) == 1:
        threading.Thread(target=later, daemon=True).start()
    return json.dumps({"turns": len(SEEN), "late": LATE})


def remember(text: str) -> str:
    """Keep every message in memory and in files; tell all that was there before."""
    place = Path("/tmp/kept")
    before = [*SEEN, place.read_text() if place.exists() else "", *map(str, _left_around())]
    SEEN.append(text)
    place.write_text(text)
    return json.dumps(before)


def _left_around() -> list[str]:
    home = Path.home()
    found = [p.read_text() for p in home.glob("kept*")]
    (home / f"kept-{len(found)}").write_text(SEEN[-1] if SEEN else "")
    return found


def visit(text: str) -> str:
    """GET or POST the paths that were given, one a line."""
    told = {}
    for line in text.splitlines():
        method, path = line.split()
        body = {} if method == "POST" else None
        told[line] = _http(path, os.environ["HIVE_HANDLE"], body)
    return json.dumps(told)


def ask_agent(text: str) -> str:
    """Ask another agent through the guest library, then past it."""
    import hive_guest

    try:
        return "got " + hive_guest.call(text, "hello")
    except hive_guest.AgentCallError as error:
        said = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hello"}]}
        body = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": said}}
        past = _http(f"/a2a/{text}", os.environ["HIVE_HANDLE"], body)
        return f"refused {error} / {past}"


def circle(text: str) -> str:
    """Ask the next agent of a circle: `NEXT`; it asks back."""
    import hive_guest

    me, other = text.split()
    try:
        return f"{me} got <{hive_guest.call(other, f'{other} {me}')}>"
    except hive_guest.AgentCallError as error:
        return f"{me} refused: {error}"


def ask_often(text: str) -> str:
    """Ask a model as often as told; tell each status."""
    statuses = [_ask(os.environ["HIVE_HANDLE"], f"{n}")[0] for n in range(int(text))]
    return json.dumps(statuses)


def reach(text: str) -> str:
    """`HOST:PORT` a line: through the proxy (CONNECT and GET), and without it."""
    told = {}
    for target in text.split():
        told[target] = [_through_proxy(target, "CONNECT"), _through_proxy(target, "GET")]
        host, _, port = target.rpartition(":")
        try:
            with socket.create_connection((host, int(port)), timeout=2):
                told[target].append("connected")
        except OSError as error:
            told[target].append(f"refused {error}")
    return json.dumps(told)


def _through_proxy(target: str, method: str) -> str:
    place = target if method == "CONNECT" else f"http://{target}/"
    with socket.create_connection(PROXY, timeout=5) as link:
        link.sendall(f"{method} {place} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        return link.recv(64).split(b"\r\n")[0].decode("latin-1")


def knock(text: str) -> str:
    """Try unix sockets by their path on the host."""
    told = {}
    for path in text.splitlines():
        with socket.socket(socket.AF_UNIX) as link:
            try:
                link.connect(path)
                told[path] = "connected"
            except OSError as error:
                told[path] = f"refused {error}"
    return json.dumps(told)


def paint(text: str) -> str:
    """Say everything in colours, with a bell, a title and a hidden direction."""
    import hive_guest

    ugly = "\x1b[31mred\x1b]0;title\x07\x9b2J\u202eback\u2066\rover"
    sys.stdout.write(f"printed {ugly}\n")
    sys.stderr.write(f"wrote {ugly}\n")
    hive_guest.artifact(f"content {ugly}", name=f"name {ugly}", filename=f"file {ugly}")
    if "fail" in text:
        raise RuntimeError(f"broke {ugly}")
    return f"answer {ugly}"


def flood(text: str) -> str:
    """Knock at every door at once, for as long as nobody stops it."""
    import hive_guest

    key = os.environ["HIVE_HANDLE"]

    def forever(action) -> None:
        while True:
            with contextlib.suppress(Exception):
                action()

    def listing() -> None:
        _http("/a2a", key)
        ask_agent("nobody")

    doors = (
        lambda: _ask(key),
        lambda: _ask("wrong"),
        listing,
        lambda: _through_proxy("192.0.2.1:443", "CONNECT"),
        lambda: sys.stdout.write("x" * 500 + "\n"),
        lambda: hive_guest.artifact("piece", artifact_id="a", append=True, last=False),
    )
    for door in doors * 2:
        threading.Thread(target=forever, args=(door,), daemon=True).start()
    threading.Event().wait()
    return "never"


def eat_memory(text: str) -> str:
    """Take memory until there is none."""
    held = []
    while True:
        held.append(bytearray(os.urandom(1 << 20) * 16))


def fork_without_end(text: str) -> str:
    """Make processes that make processes, and tell how many it could."""
    made = 0
    try:
        while made < 5000:
            if os.fork() == 0:
                time.sleep(60)
                os._exit(0)
            made += 1
    except OSError as error:
        return f"stopped at {made}: {error}"
    return f"made {made}"


def fill_disk(text: str) -> str:
    """Write until the disk is full."""
    written = 0
    try:
        with Path("/tmp/full").open("wb") as file:
            while written < 4 << 30:
                written += file.write(b"x" * (1 << 20))
                file.flush()
    except OSError as error:
        return f"stopped at {written}: {error}"
    return f"wrote {written}"


def leave(text: str) -> str:
    """End the process in the middle of a turn, every time."""
    os._exit(3)


def fail(text: str) -> str:
    """Raise."""
    raise ValueError("it went wrong on purpose")


def print_much(text: str) -> str:
    """Print ten megabytes, then answer."""
    for _ in range(10_000):
        sys.stdout.write("y" * 1000 + "\n")
    return "printed"


def answer_much(text: str) -> str:
    """Return fifty megabytes."""
    return "z" * (50 << 20)


def never_end(text: str) -> str:
    """Ignore everything."""
    while True:
        try:
            time.sleep(3600)
        except BaseException:  # noqa: BLE001
            continue


def echo(text: str) -> str:
    """Be a good neighbour."""
    return text
