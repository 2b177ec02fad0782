"""Warrants without a node: keys in files, and an engine that reads, verifies and hands on."""

import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from hive.core.clock import SystemClock
from hive.core.errors import BadInputError
from hive.core.ids import printable
from hive.node.warrants import key_of
from hive.security.capability.drivers import WARRANTS
from hive.security.capability.ports import WarrantOpening, Warrants

DEFAULT_URL = "tenuo:"
KEY_BYTES = 32


def engine_without_node(roots: Sequence[str] = ()) -> Warrants:
    """Return an engine that trusts these roots (hexadecimal) and no other. Raises ConfigError."""
    opening = WarrantOpening(
        url=DEFAULT_URL,
        root=secrets.token_bytes(KEY_BYTES),
        roots=tuple(key_of(one) for one in roots),
        clock=SystemClock(),
    )
    return WARRANTS.load(opening.url).open(opening)


def public_of(private: bytes) -> str:
    """Return the public key of a private one, in hexadecimal."""
    opening = WarrantOpening(url=DEFAULT_URL, root=private, clock=SystemClock())
    return WARRANTS.load(opening.url).open(opening).root


def make_key(path: Path) -> str:
    """Write a fresh private key, for its owner's eyes only; return the public one.

    Raises:
        BadInputError: the file exists.

    """
    private = secrets.token_bytes(KEY_BYTES)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise BadInputError(
            f"{printable(str(path))} cannot be written.", why=str(error.strerror)
        ) from None
    with os.fdopen(descriptor, "w") as file:
        file.write(private.hex() + "\n")
    return public_of(private)


def read_key(path: Path) -> bytes:
    """Read a private key that `make_key` wrote.

    Raises:
        BadInputError: it is none.

    """
    try:
        private = bytes.fromhex(path.read_text().strip())
    except (OSError, ValueError, UnicodeDecodeError):
        private = b""
    if len(private) != KEY_BYTES:
        raise BadInputError(
            f"{printable(str(path))} holds no key.", fix="hive warrant key FILE     makes one"
        )
    return private
