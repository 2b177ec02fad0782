"""Whose seal lies on a thought: a provider takes back only the seals that it made itself.

A seal leaves the wires of OpenAI and Gemini with its maker's mark, so that it can travel through a client of
another wire and come home, and so that no provider is shown the seal of another (it would refuse the call).
Anthropic's carry no mark.
"""

import base64
import binascii
import re
from typing import Final, NamedTuple

GEMINI_MARK: Final = "gemini|"
FOREIGN_ITEM: Final = "rs_hive_"
FOREIGN_MARK: Final = b"hive|"
REDACTED_MARK: Final = "hive.redacted|"
_OPENAI: Final = re.compile(r"(rs_[A-Za-z0-9_-]{1,200})\|(.*)", re.DOTALL)


class OpenAISeal(NamedTuple):
    """A reasoning item's id and its sealed content, which belong together."""

    item: str
    content: str


def openai_mark(item: str, content: str) -> str:
    """Return a reasoning item's seal as one text, empty where it has none."""
    if item.startswith(FOREIGN_ITEM) or not content:
        return content
    return f"{item}|{content}"


def openai_seal(signature: str) -> OpenAISeal | None:
    """Return what OpenAI made, None where somebody else did."""
    found = _OPENAI.fullmatch(signature)
    return OpenAISeal(found[1], found[2]) if found else None


def gemini_mark(thought_signature: str) -> str:
    """Read a seal as a Gemini client or provider shows it."""
    if not thought_signature:
        return ""
    try:
        plain = base64.b64decode(thought_signature, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        plain = b""
    if plain.startswith(FOREIGN_MARK):
        return plain.removeprefix(FOREIGN_MARK).decode("utf-8", "replace")
    return GEMINI_MARK + thought_signature


def gemini_seal(signature: str) -> str | None:
    """Return what Gemini made, None where somebody else did."""
    return signature.removeprefix(GEMINI_MARK) if signature.startswith(GEMINI_MARK) else None


def gemini_shown(signature: str) -> str:
    """Return a seal as a Gemini client takes it: base64, whoever made it."""
    own = gemini_seal(signature)
    if own is not None or not signature:
        return own or ""
    return base64.urlsafe_b64encode(FOREIGN_MARK + signature.encode()).decode()


def is_marked(signature: str) -> bool:
    """Tell whether OpenAI or Gemini made a seal; Anthropic would refuse it."""
    return signature.startswith((GEMINI_MARK, REDACTED_MARK)) or bool(openai_seal(signature))
