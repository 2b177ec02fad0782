"""Text as a reader would take it: signs that nobody sees taken out, look-alikes folded, encoded blocks opened.

Every step is bounded and linear in the length of the text.
"""

import base64
import binascii
import codecs
import re
import unicodedata
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

OPENED_MAX_BYTES: Final = 1 << 18
BLOCKS_MAX: Final = 64
NESTING_MAX: Final = 2
# Bidirectional controls, tag characters, variation selectors of the supplement, and signs without width. The two
# joiners are letters of some scripts and parts of emoji; they are judged by what stands beside them.
BIDI: Final = "\u202a-\u202e\u2066-\u2069"
TAGS: Final = "\U000e0000-\U000e007f"
SELECTORS: Final = "\U000e0100-\U000e01ef"
WIDTHLESS: Final = "\u00ad\u180e\u200b\u2060-\u2064\u206a-\u206f\ufeff\ufff9-\ufffb"
_INVISIBLE: Final = re.compile(f"[{BIDI}{TAGS}{SELECTORS}{WIDTHLESS}]+")
_JOINERS: Final = re.compile("[\u200c\u200d\u200e\u200f]+")
_TAG_TEXT: Final = re.compile(f"[{TAGS}]{{2,}}")
_CONTROLS: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x9f]+")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{16,}+={0,2}")
_HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2}[ :]?){12,}+")
_BINARY: Final = re.compile(r"(?:[01]{8}[ ,]?){6,}+")
_BASE32: Final = re.compile(r"\b[A-Z2-7]{24,}+={0,6}")
_SPACED: Final = re.compile(r"(?<!\w)(?:\w ){4,40}\w(?!\w)")
_MIXED: Final = re.compile(r"[a-z][01345789@$][a-z]{0,4}[01345789@$]|[a-z]{2}[01345789@$]{2}")
_DIGITS_AS_LETTERS: Final = str.maketrans("01345789@$", "oieastbgas")
_ROTATED: Final = ("vafgehpg", "cerivbhf", "vtaber", "qvfertneq")
_REVERSED: Final = ("snoitcurtsni", "suoiverp", "erongi", "tpmorp")
_ESCAPES: Final = re.compile(r"%[0-9A-Fa-f]{2}|&#?\w{2,8};|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}")
_BACKSLASHED: Final = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2}))")
# Letters of other scripts that are read as Latin ones: Cyrillic, Greek, and odd Latin.
_LOOKALIKES: Final = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u04bb\u0501\u051b\u051d\u043a\u043c\u0442"
    "\u03b1\u03bf\u03b9\u03ba\u03bd\u03c1\u03c4\u03c5\u03c7\u03b5\u0131\u0261",
    "aeopcyxijshdqwkmtaoikvptuxeig",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaned:
    """A text without hidden signs, how many were taken out, and what tag characters spelled."""

    text: str
    removed: int = 0
    spelled: str = ""


def cleaned(text: str) -> Cleaned:
    """Return a text without signs that nobody sees: tags, bidirectional and other controls, signs without width."""
    if text.isascii() and text.isprintable():
        return Cleaned(text=text)
    spelled = "".join(
        chr(ord(one) - 0xE0000)
        for run in _TAG_TEXT.findall(text)
        for one in run
        if 0xE0020 <= ord(one) <= 0xE007E
    )
    shown = _CONTROLS.sub("", _INVISIBLE.sub("", text))
    if not shown.isascii():
        shown = _JOINERS.sub(lambda found: _joining(shown, found), shown)
    return Cleaned(text=shown, removed=len(text) - len(shown), spelled=spelled)


def _joining(text: str, found: re.Match[str]) -> str:
    """Keep a joiner or a mark between signs beyond Latin, where writing needs it; one is enough."""
    before = text[found.start() - 1] if found.start() else ""
    after = text[found.end()] if found.end() < len(text) else ""
    return found[0][:1] if before > "\u02ff" or after > "\u02ff" else ""


def folded(text: str) -> str:
    """Return the form in which phrases are looked for: compatible forms, no case, look-alikes as Latin, single spaces."""
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text.casefold())
        text = "".join(one for one in text if not unicodedata.combining(one))
        return text.translate(_LOOKALIKES)
    return text.lower()


def unescaped(text: str) -> str:
    """Return a text with the escapes of URLs, HTML and JSON resolved; the same one where it has none."""
    if _ESCAPES.search(text) is None:
        return text
    from html import unescape  # a megabyte of names, for a text that has one

    opened = _BACKSLASHED.sub(lambda found: chr(int(found[1] or found[2], 16)), text)
    opened = unescape(opened)
    return unquote_to_bytes(opened.encode("utf-8", "replace")).decode("utf-8", "replace")


def opened_blocks(text: str, *, nesting: int = NESTING_MAX) -> Iterator[tuple[int, int, str]]:
    """Yield what encoded blocks of a text say, with their places: base64 and hex, packed or not, some levels deep."""
    left = OPENED_MAX_BYTES
    for number, block in enumerate(_blocks(text)):
        if number >= BLOCKS_MAX or left <= 0:
            return
        start, end, data = block
        data = _unpacked(data, left)
        left -= len(data)
        if data.count(0) * 3 >= len(data):
            data = data.replace(b"\0", b"")  # UTF-16 of ASCII, and UTF-32
        try:
            said = data.decode()
        except UnicodeDecodeError:
            continue
        if not said or sum(one.isprintable() or one in "\r\n\t" for one in said) < len(said):
            continue
        yield start, end, said
        if nesting > 1:
            for _, _, inner in opened_blocks(said, nesting=nesting - 1):
                yield start, end, inner


def readings(text: str) -> Iterator[str]:
    """Yield other ways to read a text that is folded: escapes resolved, rotated, backwards, letters apart, digits as letters."""
    plain = unescaped(text)
    if plain != text:
        yield folded(plain)
    if any(word in text for word in _ROTATED):
        yield codecs.encode(text, "rot13")
    if any(word in text for word in _REVERSED):
        yield text[::-1]
    if _SPACED.search(text):
        yield _SPACED.sub(lambda found: found[0].replace(" ", ""), text)
    if _MIXED.search(text):
        yield text.translate(_DIGITS_AS_LETTERS)


def _blocks(text: str) -> Iterator[tuple[int, int, bytes]]:
    # Letters and digits of ASCII begin with one of these when they are written so.
    for found in _HEX.finditer(text) if any(one in text for one in "34567") else ():
        digits = found[0].replace(" ", "").replace(":", "")
        yield found.start(), found.end(), bytes.fromhex(digits)
    for found in _BINARY.finditer(text) if "01" in text else ():
        bits = found[0].replace(" ", "").replace(",", "")
        yield found.start(), found.end(), int(bits, 2).to_bytes(len(bits) // 8, "big")
    longest = max(map(len, text.split()), default=0)
    for found in _BASE32.finditer(text) if longest >= 24 else ():
        plain = found[0].rstrip("=")
        plain = plain[: len(plain) - (len(plain) % 8 in (1, 3, 6))]
        yield found.start(), found.end(), base64.b32decode(plain + "=" * (-len(plain) % 8))
    for found in _BASE64.finditer(text) if longest >= 16 else ():
        plain = found[0].rstrip("=").translate({0x2D: 0x2B, 0x5F: 0x2F})[: OPENED_MAX_BYTES * 2]
        plain = plain[: len(plain) - 1] if len(plain) % 4 == 1 else plain
        try:
            yield found.start(), found.end(), base64.b64decode(plain + "=" * (-len(plain) % 4))
        except (binascii.Error, ValueError):
            continue


def _unpacked(data: bytes, limit: int) -> bytes:
    """Unpack gzip and zlib, never more than the limit; what is neither stays."""
    if data[:2] not in (b"\x1f\x8b", b"\x78\x9c", b"\x78\x01", b"\x78\xda"):
        return data[:limit]
    try:
        return zlib.decompressobj(wbits=47).decompress(data, limit)
    except zlib.error:
        return data[:limit]
