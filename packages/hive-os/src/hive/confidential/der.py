"""Just enough DER to read AMD's certificates, strictly: definite lengths, shortest form, nothing left over.

They have serial number 0, which RFC 5280 forbids and libraries begin to refuse. Keys and extensions are handed on as
bytes; signatures are checked elsewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from hive.confidential.ports import refused

SEQUENCE: Final = 0x30
INTEGER: Final = 0x02
BITS: Final = 0x03
OCTETS: Final = 0x04
OID: Final = 0x06
BOOLEAN: Final = 0x01
UTC_TIME: Final = 0x17
GENERAL_TIME: Final = 0x18
EXTENSIONS: Final = 0xA3
VERSION: Final = 0xA0
DEPTH_MAX: Final = 8
CERTIFICATE_MAX_BYTES: Final = 16 << 10
RSASSA_PSS: Final = "1.2.840.113549.1.1.10"


@dataclass(frozen=True, slots=True)
class Element:
    """One element: its tag, its content, and all of its bytes."""

    tag: int
    content: bytes
    whole: bytes

    def children(self) -> tuple["Element", ...]:
        """Return the elements inside."""
        return elements(self.content)


@dataclass(frozen=True, slots=True, kw_only=True)
class AmdCertificate:
    """What is needed of a certificate; `signed` are the bytes under the signature."""

    signed: bytes
    algorithm: bytes
    signature: bytes
    issuer: bytes
    subject: bytes
    not_before: datetime
    not_after: datetime
    key: bytes
    extensions: Mapping[str, bytes]


def elements(data: bytes) -> tuple[Element, ...]:
    """Return the elements that stand one after the other.

    Raises:
        AttestationError: it is not DER.

    """
    found, at = [], 0
    while at < len(data):
        element = _element(data, at)
        found.append(element)
        at += len(element.whole)
    return tuple(found)


def _element(data: bytes, at: int) -> Element:
    head = data[at : at + 2]
    if len(head) < 2 or head[0] & 0x1F == 0x1F:
        raise _bad()
    size, start = head[1], at + 2
    if size & 0x80:
        count = size & 0x7F
        octets = data[start : start + count]
        size = int.from_bytes(octets, "big")
        if not 0 < count <= 4 or len(octets) != count or octets[0] == 0 or size < 0x80:
            raise _bad()
        start += count
    content = data[start : start + size]
    if len(content) != size:
        raise _bad()
    return Element(head[0], content, data[at : start + size])


def one(data: bytes, tag: int) -> Element:
    """Return the only element there is. Raises AttestationError."""
    found = elements(data)
    if len(found) != 1 or found[0].tag != tag:
        raise _bad()
    return found[0]


def read_certificate(data: bytes) -> AmdCertificate:
    """Read a certificate (RFC 5280, 4.1).

    Raises:
        AttestationError: it is none.

    """
    if len(data) > CERTIFICATE_MAX_BYTES:
        raise refused(f"A certificate has more than {CERTIFICATE_MAX_BYTES} bytes.")
    parts = one(data, SEQUENCE).children()
    if [part.tag for part in parts] != [SEQUENCE, SEQUENCE, BITS]:
        raise _bad()
    said = parts[0].children()
    tags = [part.tag for part in said]
    expected = [VERSION, INTEGER, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE, EXTENSIONS]
    if tags != expected or said[2].whole != parts[1].whole:
        raise _bad()
    begins, ends = _times(said[4])
    return AmdCertificate(
        signed=parts[0].whole,
        algorithm=parts[1].whole,
        signature=_bits(parts[2]),
        issuer=said[3].whole,
        subject=said[5].whole,
        not_before=begins,
        not_after=ends,
        key=said[6].whole,
        extensions=_extensions(said[7]),
    )


def number(data: bytes) -> int:
    """Return a small number that is an element by itself. Raises AttestationError."""
    content = one(data, INTEGER).content
    if not content or content[0] & 0x80 or len(content) > 8:
        raise _bad()
    return int.from_bytes(content, "big")


def oid_text(content: bytes) -> str:
    """Return an object identifier with dots. Raises AttestationError."""
    if not content or content[-1] & 0x80:
        raise _bad()
    numbers, value = [], 0
    for octet in content:
        value = value << 7 | octet & 0x7F
        if not octet & 0x80:
            numbers.append(value)
            value = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))


def _bits(element: Element) -> bytes:
    if not element.content or element.content[0] != 0:
        raise _bad()
    return element.content[1:]


def _times(element: Element) -> tuple[datetime, datetime]:
    found = [_time(child) for child in element.children()]
    if len(found) != 2:
        raise _bad()
    return found[0], found[1]


def _time(element: Element) -> datetime:
    form = {UTC_TIME: "%y%m%d%H%M%SZ", GENERAL_TIME: "%Y%m%d%H%M%SZ"}.get(element.tag)
    try:
        return datetime.strptime(element.content.decode("ascii"), form or "").replace(tzinfo=UTC)
    except ValueError as error:
        raise _bad() from error


def _extensions(element: Element) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for extension in one(element.content, SEQUENCE).children():
        parts = extension.children()
        critical = len(parts) == 3 and parts[1].tag == BOOLEAN
        if not (critical or len(parts) == 2) or parts[0].tag != OID or parts[-1].tag != OCTETS:
            raise _bad()
        name = oid_text(parts[0].content)
        if name in found:
            raise _bad()
        found[name] = parts[-1].content
    return found


def _bad() -> Exception:
    return refused("A certificate is not DER as RFC 5280 writes it.")
