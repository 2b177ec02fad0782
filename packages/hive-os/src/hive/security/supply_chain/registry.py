"""A registry of images, asked for small documents without an account; each answer is bounded in size and time."""

from collections.abc import Callable
from typing import Final, NamedTuple

import httpcore

from hive.core.errors import SupplyError
from hive.core.ids import printable
from hive.security.supply_chain.oci import BLOB_MAX_BYTES

TIMEOUT_S: Final = 30.0
REDIRECTS_MAX: Final = 3
_ACCEPT: Final = b"application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json, */*"


class _Answer(NamedTuple):
    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    content: bytes


def registry_reader(host: str) -> Callable[[str], bytes]:
    """Return what fetches a path below `/v2/` of a host; over TLS unless the host is this machine."""
    local = host.partition(":")[0] in ("127.0.0.1", "localhost")
    root = f"{'http' if local else 'https'}://{host}/v2/"
    return lambda path: _get(root + path)


def _get(url: str) -> bytes:
    for _ in range(REDIRECTS_MAX + 1):
        try:
            answer = _ask(url)
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
            raise _no_answer(url, str(error) or type(error).__name__) from error
        if answer.status == 200:
            return answer.content
        location = dict(answer.headers).get(b"location", b"").decode("latin-1")
        if answer.status not in (301, 302, 303, 307, 308) or not location.startswith("https://"):
            raise _no_answer(url, f"It answered {answer.status}.")
        url = location
    raise _no_answer(url, "It sends from one place to the next.")


def _ask(url: str) -> _Answer:
    timeouts = dict.fromkeys(("connect", "read", "write", "pool"), TIMEOUT_S)
    with (
        httpcore.ConnectionPool() as pool,
        pool.stream(
            "GET", url, headers={b"accept": _ACCEPT}, extensions={"timeout": timeouts}
        ) as answer,
    ):
        body = b""
        for chunk in answer.iter_stream():
            body += chunk
            if len(body) > BLOB_MAX_BYTES:
                raise _no_answer(url, f"Its answer has more than {BLOB_MAX_BYTES} bytes.")
        return _Answer(answer.status, tuple(answer.headers), body)


def _no_answer(url: str, why: str) -> SupplyError:
    return SupplyError(
        f"The registry does not give {printable(url, limit_chars=200)}.",
        why=why,
        fix="Save the image first: cosign save --dir FOLDER IMAGE",
    )
