"""What the tests of identity share: a clock that stands, keys and tokens, request heads, a small authority."""

import asyncio
import hmac
import ipaddress
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from hive_a2a.base64url import to_base64url_text
from hive_a2a.call import Binding, RequestHead
from hive_a2a.faults import WireFault
from hive_a2a.identity.proof import public_jwk, signed_compact
from hive_a2a.identity.svid import Svid, svid_from_pem

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
ISSUER = "https://issuer.example"
AUDIENCE = "https://agent.example"
URL = "https://agent.example/rpc"
DOMAIN = "hive.example"
KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())
JWKS = {"keys": [{**public_jwk(KEY), "kid": "k1", "use": "sig", "alg": "ES256"}]}


class StandingClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.passed_s = 0.0

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.passed_s)

    def monotonic(self) -> float:
        return 1000.0 + self.passed_s


def claims(**changes: object) -> dict[str, object]:
    at = int(NOW.timestamp())
    good = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "alice",
        "iat": at,
        "exp": at + 300,
        "scope": "a2a:call",
        **changes,
    }
    return {name: value for name, value in good.items() if value is not ...}


def token(key=KEY, header=None, **changes: object) -> str:
    head = {"alg": "ES256", "typ": "at+jwt", "kid": "k1", **(header or {})}
    return signed_compact({k: v for k, v in head.items() if v is not ...}, claims(**changes), key)


def hs256(header: dict, body: dict, secret: bytes) -> str:
    signed = ".".join(to_base64url_text(json.dumps(one).encode()) for one in (header, body))
    return f"{signed}.{to_base64url_text(hmac.digest(secret, signed.encode(), 'sha256'))}"


def public_pem(key=KEY) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def head(authorization: str = "", *, method: str = "POST", url: str = URL, **more) -> RequestHead:
    headers = more.pop("headers", {})
    if authorization:
        headers = {"authorization": authorization, **headers}
    return RequestHead(
        binding=Binding.JSONRPC, http_method=method, url=url, headers=headers, **more
    )


async def refusal(one: Awaitable[object]) -> WireFault:
    """Return the fault that this must end with."""
    with pytest.raises(WireFault) as caught:
        await one
    return caught.value


def challenge_of(fault: WireFault) -> str:
    return dict(fault.headers)[b"www-authenticate"].decode()


class Authority:
    """An authority of a trust domain that makes SVIDs, good and bad."""

    def __init__(self, domain: str = DOMAIN) -> None:
        self.domain = domain
        self.key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, domain)])
        now = datetime.now(UTC)  # noqa: TID251 - real handshakes look at the real time
        self.root = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False
            )
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"spiffe://{domain}")]),
                critical=False,
            )
            .sign(self.key, hashes.SHA256())
        )

    @property
    def bundle(self) -> bytes:
        return self.root.public_bytes(Encoding.PEM)

    def leaf(self, *uris: str, ends_in_s: float = 3600, key=None) -> tuple[bytes, bytes]:
        """Return certificate and key in PEM."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)  # noqa: TID251
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(one) for one in uris]
        if not names:
            names = [
                x509.DNSName("agent.example"),
                x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
            ]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.root.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(seconds=ends_in_s))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage(
                    [x509.ExtendedKeyUsageOID.SERVER_AUTH, x509.ExtendedKeyUsageOID.CLIENT_AUTH]
                ),
                critical=False,
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                critical=False,
            )
            .add_extension(x509.SubjectAlternativeName(names), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return certificate.public_bytes(Encoding.PEM), pem

    def svid(self, path: str, **more) -> Svid:
        return svid_from_pem(*self.leaf(f"spiffe://{self.domain}{path}", **more), self.bundle)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


class Answers:
    """An issuer on loopback: each request is kept, and answered by a function of (method, path, headers, body)."""

    def __init__(self, answer: Callable[..., object]) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            top = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            method, path, _ = top[0].split(" ")
            headers = {k.lower(): v for k, v in (one.split(": ", 1) for one in top[1:] if one)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            self.asked.append((method, path, headers, body))
            reply = self.answer(method, path, headers, body)
            if isinstance(reply, bytes):
                writer.write(reply)
            else:
                status, document, *more = reply if isinstance(reply, tuple) else (200, reply)
                data = document if isinstance(document, bytes) else json.dumps(document).encode()
                lines = "".join(f"{k}: {v}\r\n" for k, v in (more[0] if more else {}).items())
                writer.write(
                    f"HTTP/1.1 {status} X\r\ncontent-length: {len(data)}\r\n{lines}"
                    "connection: close\r\n\r\n".encode()
                    + data
                )
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def issuer(answer: Callable[..., object]) -> AsyncIterator[Answers]:
    """Serve answers on a free port."""
    answers = Answers(answer)
    server = await asyncio.start_server(answers.serve, "127.0.0.1", 0)
    answers.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield answers
