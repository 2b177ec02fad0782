"""Text as it is compared: one form for what only looks different, and the parts of it that point somewhere."""

import base64
import binascii
import codecs
import re
import unicodedata
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote

PIECE_MAX_CHARS: Final = 4096
_SPACES: Final = re.compile(r"\s+")
_TOKEN: Final = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)?")
_DISGUISED: Final = (
    (re.compile(r"\s*[\[({<]\s*(?:at|@)\s*[\])}>]\s*"), "@"),
    (re.compile(r"\s*[\[({<]\s*(?:dot|punkt|\.)\s*[\])}>]\s*"), "."),
    (re.compile(r"hxxp(s?)", re.IGNORECASE), r"http\1"),
)
POINTERS: Final = re.compile(
    r"(?:https?|ftp|wss?|mailto|tel)://?[^\s<>\"'`)\]}]+"  # an address of the web
    r"|[\w.+-]+@[\w-]+(?:\.[\w-]+)+"  # a mail address
    r"|\bwww\.[^\s<>\"'`)\]}]+"
    r"|\b[a-z]{2}\d{2}(?:[ ]?[a-z0-9]{2,4}){3,8}\b"  # an account
    r"|(?<![\w.])\+?\d[\d ()/-]{7,}\d(?!\.?\d)"  # a telephone
    r"|\b(?:[a-z0-9-]+\.)+(?:com|org|net|io|dev|app|info|biz|co|me|xyz|site|online|ru|cn|de|uk|eu|ai|shop|top|club)\b",
    re.IGNORECASE,
)
_MAY_POINT: Final = re.compile(r"@|://|\d|\w\.\w", re.ASCII)
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{12,}={0,2}")
_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2}[ :]?){6,}")


def normalized(text: str) -> str:
    """Return the form in which texts are compared: compatible, without case, invisible signs and runs of spaces."""
    if text.isascii():
        return _SPACES.sub(" ", text.lower()).strip()
    shown = unicodedata.normalize("NFKC", text)
    shown = "".join(one for one in shown if unicodedata.category(one) != "Cf")
    return _SPACES.sub(" ", shown.casefold()).strip()


def tokens(text: str) -> list[str]:
    """Return the words and numbers of a text that is normalized already."""
    return _TOKEN.findall(text)


def named_in(value: str, words: str) -> bool:
    """Tell whether a text names a value as a whole, not as a part of something longer; both are normalized."""
    if not value:
        return False
    start = words.find(value)
    while start >= 0:
        end = start + len(value)
        if _edge(words, start - 1, -1) and _edge(words, end, 1):
            return True
        start = words.find(value, start + 1)
    return False


def _edge(text: str, at: int, step: int) -> bool:
    """Tell whether a value ends here: at a space, a quote, a bracket, or a sign that ends a sentence."""
    if not 0 <= at < len(text):
        return True
    sign = text[at]
    if sign.isalnum() or sign in "@_-+/\\%=&~":
        return False
    if sign in ".:" and step > 0:
        return not (at + 1 < len(text) and text[at + 1].isalnum())
    return not (sign == "." and step < 0)


def pointers(text: str) -> Iterator[str]:
    """Yield what in a text points somewhere: addresses of the web and of mail, accounts, telephones, hosts."""
    if _MAY_POINT.search(text) is None:
        return
    for found in POINTERS.finditer(text):
        yield found.group(0).rstrip(".,;:!?")


def segments_of(text: str) -> list[str]:
    """Return the parts between slashes, without the signs that end a sentence; host names with dots are none."""
    found = [one.strip("\"'`()[]<>,;:!?#").rstrip(".") for one in re.split("[/#]", text)]
    return [one for one in found if one]


def squeezed(text: str) -> str:
    """Return a text without anything but letters and digits: what is left of a value that was split or decorated."""
    return "".join(one for one in text if one.isalnum())


def uncovered(text: str) -> str:
    """Return what a text says besides its plain words: decoded, reversed, unmasked, one form a line."""
    found = [_plain(text)]
    found += [_decoded(piece) for piece in _BASE64.findall(text)]
    found += [_from_hex(piece) for piece in _HEX.findall(text)]
    found.append(text[::-1])
    found.append(codecs.encode(text, "rot13"))
    if "%" in text:
        found.append(unquote(text))
    return "\n".join(one for one in found if one)


def _plain(text: str) -> str:
    for pattern, sign in _DISGUISED:
        text = pattern.sub(sign, text)
    return text


def _decoded(piece: str) -> str:
    padded = piece.rstrip("=").replace("-", "+").replace("_", "/")
    for cut in range(min(4, len(padded))):
        whole = padded[cut:]
        try:
            text = base64.b64decode(whole + "=" * (-len(whole) % 4)).decode()
        except (binascii.Error, ValueError):
            continue
        if text.isprintable():
            return text[:PIECE_MAX_CHARS]
    return ""


def _from_hex(piece: str) -> str:
    try:
        text = bytes.fromhex(re.sub(r"[ :]", "", piece)).decode()
    except ValueError:
        return ""
    return text[:PIECE_MAX_CHARS] if text.isprintable() else ""
