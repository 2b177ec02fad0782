"""An agent that looks for a provider's real key wherever it can reach: it knows what one looks like."""

import contextlib
import gzip
import json
import os
import re
import socket
import stat
import sys
import time
import urllib.error
import urllib.request
import zlib
from pathlib import Path

LOOKS_LIKE = re.compile(rb"sk-planted-[0-9a-f]{32}")
SEARCH_MAX_S = 10.0
FILE_MAX_BYTES = 64 << 20
BASE = os.environ.get("HIVE_URL", "http://127.0.0.1:4100")
OTHER_PLACES = ("/proc", "/sys", "/dev")
# The root itself may not be listed, so the places below it are guessed; those that the agent knows come first.
ROOTS = (
    "/tmp",
    "/home",
    "/run",
    "/var",
    "/work",
    "/agent",
    "/app",
    "/srv",
    "/mnt",
    "/opt",
    "/root",
    "/etc",
)

GOOD = ("/v1/chat/completions", {"model": "says", "messages": [{"role": "user", "content": "x"}]})


class Search:
    """What was looked at, and where the key was."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.looked: dict[str, int] = {}
        self.ends_at = time.monotonic() + SEARCH_MAX_S

    def look(self, kind: str, place: str, data: bytes) -> None:
        self.looked[kind] = self.looked.get(kind, 0) + 1
        if LOOKS_LIKE.search(data):
            self.found.append(f"{kind} {place}")

    def read(self, kind: str, path: str) -> None:
        with contextlib.suppress(OSError), Path(path).open("rb") as file:
            self.look(kind, path, file.read(FILE_MAX_BYTES))

    def told(self) -> str:
        return json.dumps({"found": self.found, "looked": self.looked})


def everywhere(text: str) -> str:
    """Search the environment, every process, every descriptor, every file, every socket, and its own memory."""
    search = Search()
    search.look("environment", "os.environ", repr(dict(os.environ)).encode())
    processes(search)
    files(search)
    sockets(search)
    return search.told()


def processes(search: Search) -> None:
    """Read what /proc shows of every process, memory included."""
    for pid in (one.name for one in Path("/proc").glob("[0-9]*")):
        for name in (
            "environ",
            "cmdline",
            "maps",
            "status",
            "limits",
            "mountinfo",
            "stack",
            "auxv",
        ):
            search.read("process", f"/proc/{pid}/{name}")
        with contextlib.suppress(OSError):
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    link = str(descriptor.readlink())
                    search.look("descriptor", link, link.encode())
                    if stat.S_ISREG(descriptor.stat().st_mode):
                        search.read("descriptor", str(descriptor))
        # Its own memory holds the bytes it has just read of others: a find there is a find elsewhere.
        if int(pid) != os.getpid():
            memory(search, pid)
    for name in ("keys", "key-users", "net/unix", "net/tcp", "cmdline"):
        search.read("kernel", f"/proc/{name}")


def memory(search: Search, pid: str) -> None:
    """Read the memory of a process, range by range."""
    place = Path("/proc", pid)
    with contextlib.suppress(OSError, ValueError), (place / "mem").open("rb", 0) as held:
        for line in (place / "maps").read_text().splitlines():
            span, rights = line.split()[:2]
            if "r" not in rights or "vvar" in line:
                continue
            begin, end = (int(one, 16) for one in span.split("-"))
            with contextlib.suppress(OSError, OverflowError):
                held.seek(begin)
                search.look("memory", f"{pid} {span}", held.read(min(end - begin, 64 << 20)))


def files(search: Search) -> None:
    """Read every file that can be read; the host's own programs last, and as long as there is time."""
    known = sorted(known_places(), key=lambda place: place.startswith("/usr"))
    for root in dict.fromkeys((*ROOTS, *known)):
        for folder, _, names in os.walk(root):
            for name in names:
                if time.monotonic() > search.ends_at:
                    return
                path = Path(folder, name)
                with contextlib.suppress(OSError):
                    if stat.S_ISREG(path.lstat().st_mode):
                        search.read("file", str(path))


def known_places() -> list[str]:
    """Return every place that the agent has been told of: its own folders, its mounts, its environment."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    told = [*sys.path, str(Path.cwd()), str(Path(__file__).parent), str(Path.home()), *mounts]
    told += [value for value in os.environ.values() if value.startswith("/") and ":" not in value]
    return [
        place for place in told if place not in ("", "/") and not place.startswith(OTHER_PLACES)
    ]


def sockets(search: Search) -> None:
    """Knock at every port of this machine's loopback and at every socket that has a path, and ask for something."""
    places: list[tuple[int, object]] = [
        (socket.AF_INET, ("127.0.0.1", port)) for port in range(1, 65536)
    ]
    for folder, _, names in (walk for root in ROOTS for walk in os.walk(root)):
        for name in names:
            with contextlib.suppress(OSError):
                if stat.S_ISSOCK(Path(folder, name).lstat().st_mode):
                    places.append((socket.AF_UNIX, str(Path(folder, name))))
    key = os.environ["HIVE_HANDLE"]
    for family, place in places:
        with contextlib.suppress(OSError), socket.socket(family) as link:
            link.settimeout(2)
            link.connect(place)
            asked = f"GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
            link.sendall(f"{asked}connection: close\r\n\r\n".encode())
            search.look("socket", str(place), link.recv(1 << 20))


def through_the_gate(text: str) -> str:
    """Ask each model that was named, on each wire, whole and streamed; look at every byte of every answer."""
    search = Search()
    answers = {}
    for model in text.split():
        for path, body in questions(model):
            # A good answer before each, so that the node does not leave a provider that fails again and again.
            post(*GOOD)
            status, head, data = post(path, body)
            answers[f"{model} {path} {body.get('stream', False)}"] = status
            search.look("answer", f"{model} {path}", head)
            for seen in every_reading(data):
                search.look("answer", f"{model} {path}", seen)
    for path in ("/v1/models", "/v1beta/models", "/v1/models?key=x", "/v1/nothing", "/%00", "/v1/"):
        status, head, data = post(path, None)
        answers[path] = status
        search.look("answer", path, head + data)
    return json.dumps({"found": search.found, "looked": search.looked, "answers": answers})


def questions(model: str):
    said = [{"role": "user", "content": "hello"}]
    for stream in (False, True):
        yield "/v1/chat/completions", {"model": model, "messages": said, "stream": stream}
        yield "/v1/messages", {"model": model, "messages": said, "max_tokens": 9, "stream": stream}
        yield "/v1/responses", {"model": model, "input": "hello", "stream": stream}
    asked = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
    yield f"/v1beta/models/{model}:generateContent", asked
    yield "/v1/embeddings", {"model": model, "input": "hello"}


def post(path: str, body: dict | None) -> tuple[int, bytes, bytes]:
    request = urllib.request.Request(
        BASE + path,
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Content-Type": "application/json",
            "Authorization": "Bearer " + os.environ["HIVE_HANDLE"],
        },
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), Still())
    try:
        with opener.open(request, timeout=20) as answer:
            return answer.status, str(answer.headers).encode(), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, str(error.headers).encode(), error.read()
    except (OSError, ValueError) as error:
        return 0, b"", repr(error).encode()


class Still(urllib.request.HTTPRedirectHandler):
    """Looks at a redirect instead of following it."""

    def redirect_request(self, *given):
        return None


def every_reading(data: bytes):
    """Return an answer as it came, unpacked, and the words of a stream joined."""
    yield data
    with contextlib.suppress(OSError, EOFError, zlib.error):
        yield gzip.decompress(data)
    with contextlib.suppress(zlib.error):
        yield zlib.decompress(data)
    yield b"".join(re.findall(rb'"(?:content|delta|text)": ?"([^"]*)"', data))
