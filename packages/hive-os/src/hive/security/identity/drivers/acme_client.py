"""ACME (RFC 8555) as far as one certificate needs it: an account, an order, an HTTP-01 challenge, the chain.

The account lives as long as the order: whoever may answer the challenge is whom the server believes, so an account
that is kept would be one secret more.
"""

import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import anyio
import httpx
from anyio.abc import SocketStream
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from hive.core.errors import IdentityError
from hive.security.identity.certificates import new_key
from hive_a2a.base64url import to_base64url_text
from hive_a2a.identity.jws import thumbprint
from hive_a2a.identity.proof import public_jwk

STEP_TIMEOUT_S: Final = 15.0
ORDER_TIMEOUT_S: Final = 90.0
POLL_S: Final = 0.5
ANSWER_MAX_BYTES: Final = 256 << 10
HEAD_MAX_BYTES: Final = 8 << 10
_PREFIX: Final = "/.well-known/acme-challenge/"


@dataclass(frozen=True, slots=True)
class ChallengeAddress:
    """Where the server's question is answered."""

    host: str
    port: int


@dataclass(slots=True)
class AcmeOrder:
    """One certificate, from a directory's URL to the chain in PEM."""

    directory_url: str
    name: str
    address: ChallengeAddress
    tls: ssl.SSLContext
    _key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    _account: str = ""
    _nonce: str = ""
    _directory: dict[str, Any] = field(default_factory=dict)

    async def fetch(self, csr: bytes) -> bytes:
        """Return the chain for a request (DER).

        Raises:
            IdentityError: the server refuses, or does not answer in time.

        """
        try:
            with anyio.fail_after(ORDER_TIMEOUT_S):
                async with httpx.AsyncClient(verify=self.tls, timeout=STEP_TIMEOUT_S) as http:
                    return await self._fetch(http, csr)
        except (httpx.HTTPError, TimeoutError, OSError, ValueError, KeyError) as error:
            raise IdentityError(
                "The ACME server did not give a certificate.",
                why=f"{type(error).__name__}: {error}",
                fix="Check HIVE_IDENTITY_URL, and that the server reaches the address of `listen`.",
            ) from error

    async def _fetch(self, http: httpx.AsyncClient, csr: bytes) -> bytes:
        self._key, self._account, self._nonce = new_key(), "", ""
        found = await http.get(self.directory_url)
        self._directory = _document(found)
        made = await self._post(http, self._directory["newAccount"], {"termsOfServiceAgreed": True})
        self._account = made.headers["location"]
        identifiers = [{"type": "dns", "value": self.name}]
        placed = await self._post(http, self._directory["newOrder"], {"identifiers": identifiers})
        where, order = placed.headers["location"], _document(placed)
        for authorization in order["authorizations"]:
            await self._authorize(http, authorization)
        await self._post(http, order["finalize"], {"csr": to_base64url_text(csr)})
        order = await self._settled(http, where, "valid")
        chain = await self._post(http, order["certificate"], None)
        return chain.content

    async def _authorize(self, http: httpx.AsyncClient, url: str) -> None:
        told = _document(await self._post(http, url, None))
        if told["status"] == "valid":
            return
        for challenge in told["challenges"]:
            if challenge["type"] == "http-01":
                token = str(challenge["token"])
                answer = f"{token}.{thumbprint(public_jwk(self._key))}"
                async with _answering(self.address, {token: answer}):
                    await self._post(http, challenge["url"], {})
                    await self._settled(http, url, "valid")
                return
        raise IdentityError("The ACME server offers no HTTP-01 challenge.")

    async def _settled(self, http: httpx.AsyncClient, url: str, wanted: str) -> dict[str, Any]:
        while True:
            told = _document(await self._post(http, url, None))
            if told["status"] == wanted:
                return told
            if told["status"] not in ("pending", "processing", "ready"):
                detail = json.dumps(told.get("error") or told.get("challenges") or "")[:500]
                raise IdentityError(f"The ACME server says {told['status']}.", why=detail)
            await anyio.sleep(POLL_S)

    async def _post(
        self, http: httpx.AsyncClient, url: str, payload: Mapping[str, object] | None
    ) -> httpx.Response:
        """Send a signed request; a nonce that was used up is replaced once."""
        answer = await self._sent(http, url, payload)
        if answer.status_code == httpx.codes.BAD_REQUEST and b"badNonce" in answer.content:
            answer = await self._sent(http, url, payload)
        if answer.is_error:
            raise IdentityError(
                "The ACME server refuses.", why=f"{answer.status_code}: {answer.text[:500]}"
            )
        if len(answer.content) > ANSWER_MAX_BYTES:
            raise IdentityError("The ACME server says too much.")
        return answer

    async def _sent(
        self, http: httpx.AsyncClient, url: str, payload: Mapping[str, object] | None
    ) -> httpx.Response:
        nonce = self._nonce
        if not nonce:
            nonce = (await http.head(self._directory["newNonce"])).headers["replay-nonce"]
        header: dict[str, object] = {"alg": "ES256", "nonce": nonce, "url": url}
        header |= {"kid": self._account} if self._account else {"jwk": public_jwk(self._key)}
        body = _signed(header, payload, self._key)
        headers = {"content-type": "application/jose+json"}
        answer = await http.post(url, content=body, headers=headers)
        self._nonce = answer.headers.get("replay-nonce", "")
        return answer


def _signed(
    header: Mapping[str, object],
    payload: Mapping[str, object] | None,
    key: ec.EllipticCurvePrivateKey,
) -> bytes:
    first = to_base64url_text(json.dumps(header).encode())
    # An empty payload asks (POST-as-GET, 6.3); an empty object says something.
    second = "" if payload is None else to_base64url_text(json.dumps(payload).encode())
    r, s = decode_dss_signature(key.sign(f"{first}.{second}".encode(), ec.ECDSA(SHA256())))
    signature = to_base64url_text(r.to_bytes(32, "big") + s.to_bytes(32, "big"))
    return json.dumps({"protected": first, "payload": second, "signature": signature}).encode()


def _document(answer: httpx.Response) -> dict[str, Any]:
    found = answer.json()
    if not isinstance(found, dict):
        raise IdentityError("The ACME server's answer is no object.")
    return found


@asynccontextmanager
async def _answering(address: ChallengeAddress, answers: Mapping[str, str]) -> AsyncIterator[None]:
    """Answer the server's question, and nothing else, while the context lasts."""

    async def serve(stream: SocketStream) -> None:
        async with stream:
            with anyio.move_on_after(STEP_TIMEOUT_S):
                head = b""
                while b"\r\n\r\n" not in head and len(head) < HEAD_MAX_BYTES:
                    head += await stream.receive()
                words = head.split(b" ", 2)
                path = words[1].decode("latin-1") if len(words) > 1 else ""
                told = answers.get(path.removeprefix(_PREFIX)) if _PREFIX in path else None
                status, body = ("200 OK", told) if told is not None else ("404 Not Found", "")
                await stream.send(
                    f"HTTP/1.1 {status}\r\ncontent-type: application/octet-stream\r\n"
                    f"content-length: {len(body)}\r\nconnection: close\r\n\r\n{body}".encode()
                )

    async def quiet(stream: SocketStream) -> None:
        try:
            await serve(stream)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            return

    listener = await anyio.create_tcp_listener(local_host=address.host, local_port=address.port)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, quiet)
        yield
        tasks.cancel_scope.cancel()
