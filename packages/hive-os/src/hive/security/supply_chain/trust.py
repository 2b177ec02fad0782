"""Whom this node trusts to sign: a folder of public keys, one file each, and the making of pairs.

A file's name is what people call the key. Ed25519 signs our own packages; ECDSA P-256 is what cosign makes.
The key id is the SHA-256 of the public key in DER (SubjectPublicKeyInfo), which is the same for both kinds.
"""

import base64
import binascii
import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from hive.core.errors import NotFoundError, SupplyError
from hive.core.ids import name as valid_name
from hive.core.ids import printable
from hive.core.randomness import Randomness
from hive_a2a.crypto import sign_note, signing_pair

FOLDER: Final = "trust"
KEYS_MAX: Final = 200
KEY_FILE_MAX_BYTES: Final = 4096
KEY_BYTES: Final = 32
_ENDING: Final = ".pub"
_PUBLIC: Final = "PUBLIC KEY"
_PRIVATE: Final = "PRIVATE KEY"
_ED25519_SPKI: Final = bytes.fromhex("302a300506032b6570032100")  # RFC 8410
_ED25519_PKCS8: Final = bytes.fromhex("302e020100300506032b657004220420")
_P256_SPKI: Final = bytes.fromhex(
    "3059301306072a8648ce3d020106082a8648ce3d030107034200"
)  # RFC 5480
_P256_BYTES: Final = 65


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedKey:
    """A public key with the name of its file."""

    name: str
    der: bytes

    @property
    def id(self) -> str:
        """Return what names the key in a signature."""
        return key_id(self.der)

    @property
    def kind(self) -> str:
        """Return `ed25519` or `ecdsa-p256`."""
        return "ed25519" if self.ed25519 else "ecdsa-p256"

    @property
    def ed25519(self) -> bytes:
        """Return the raw key where it is an Ed25519 one, nothing else."""
        return self.der.removeprefix(_ED25519_SPKI) if self.der[:12] == _ED25519_SPKI else b""


class TrustFolder:
    """Public keys in a folder; read anew for each question, so a key that was taken away is gone at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keys(self) -> dict[str, TrustedKey]:
        """Return the keys by id; a folder that is not there holds none.

        Raises:
            SupplyError: a file in it is no key, or there are too many.

        """
        return {key.id: key for key in self._files()}

    def _files(self) -> list[TrustedKey]:
        paths = sorted(self.folder.glob(f"*{_ENDING}"))
        if len(paths) > KEYS_MAX:
            raise _no_key(str(self.folder), f"It holds more than {KEYS_MAX} keys.")
        return [TrustedKey(name=path.stem, der=read_public_key(path)) for path in paths]

    def add(self, name: str, der: bytes) -> TrustedKey:
        """Trust a key under a name.

        Raises:
            SupplyError: another key has the name already.
            InvalidIdError: the name cannot be used.

        """
        key = TrustedKey(name=valid_name(name, what="key name"), der=der)
        known = next((one for one in self._files() if one.name == name), None)
        if known is not None and known.der != der:
            raise SupplyError(
                f"Another key is trusted as {name}.",
                why=f"It has the id {known.id[:16]}.",
                fix=f"Choose another name, or take that one away: hive trust rm {name}",
            )
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.folder / f"{name}{_ENDING}"
        coming = path.with_suffix(".coming")
        coming.write_text(public_pem(der))
        coming.replace(path)
        return key

    def remove(self, name: str) -> TrustedKey:
        """Trust a key no longer, whatever other names it has; `name` may be the beginning of its id. Raises NotFoundError."""
        files = self._files()
        found = {
            one.id: one
            for one in files
            if one.name == name or (len(name) >= 8 and one.id.startswith(name))
        }
        if len(found) != 1:
            raise NotFoundError(f"No key is trusted as {printable(name)}.", fix="hive trust list")
        ((gone, key),) = found.items()
        for one in files:
            if one.id == gone:
                (self.folder / f"{one.name}{_ENDING}").unlink()
        return key


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageSigner:
    """Signs with an Ed25519 key that the holder of a file has."""

    private: bytes

    @property
    def der(self) -> bytes:
        """Return the public half in DER."""
        return _ED25519_SPKI + signing_pair(self.private).public

    @property
    def id(self) -> str:
        """Return what names the key in a signature."""
        return key_id(self.der)

    def sign(self, data: bytes) -> bytes:
        """Sign."""
        return sign_note(self.private, data)


def key_id(der: bytes) -> str:
    """Return the id of a public key."""
    return sha256(der).hexdigest()


def make_pair(private: Path, public: Path, randomness: Randomness) -> PackageSigner:
    """Write a new pair: the private file readable by its owner alone; neither may exist.

    Raises:
        SupplyError: a file is there already, or cannot be written.

    """
    signer = PackageSigner(private=randomness.token(KEY_BYTES))
    for path, text, mode in (
        (private, _pem(_PRIVATE, _ED25519_PKCS8 + signer.private), 0o600),
        (public, public_pem(signer.der), 0o644),
    ):
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        except OSError as error:
            raise SupplyError(
                f"{path} cannot be written.", why=error.strerror or "", fix="Name a new file."
            ) from error
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
    return signer


def read_signer(path: Path) -> PackageSigner:
    """Read an Ed25519 private key. Raises SupplyError."""
    der = _read_pem(path, _PRIVATE)
    if not der.startswith(_ED25519_PKCS8) or len(der) != len(_ED25519_PKCS8) + KEY_BYTES:
        raise _no_key(str(path), "It holds no Ed25519 private key as PEM (PKCS#8, not encrypted).")
    return PackageSigner(private=der.removeprefix(_ED25519_PKCS8))


def read_public_key(path: Path) -> bytes:
    """Read an Ed25519 or ECDSA P-256 public key; return it in DER. Raises SupplyError."""
    return _public(_read_pem(path, _PUBLIC), str(path))


def public_key_of(pem: str, *, what: str) -> bytes:
    """Take a public key out of a PEM text; return it in DER. Raises SupplyError."""
    return _public(_from_pem(pem[:KEY_FILE_MAX_BYTES], _PUBLIC, what), what)


def folder_of(url: str, state: Path) -> TrustFolder:
    """Return the folder that `keyring:` names, else the one of the state folder."""
    scheme, _, rest = url.partition(":")
    named = rest.partition("?")[0]
    return TrustFolder(Path(named) if scheme == "keyring" and named else state / FOLDER)


def _public(der: bytes, what: str) -> bytes:
    if der.startswith(_ED25519_SPKI) and len(der) == len(_ED25519_SPKI) + KEY_BYTES:
        return der
    if der.startswith(_P256_SPKI) and len(der) == len(_P256_SPKI) + _P256_BYTES:
        return der
    raise _no_key(what, "It is no Ed25519 or ECDSA P-256 public key as PEM.")


def public_pem(der: bytes) -> str:
    """Return a public key as a PEM file holds it."""
    return _pem(_PUBLIC, der)


def _pem(what: str, der: bytes) -> str:
    text = base64.b64encode(der).decode()
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return "\n".join((f"-----BEGIN {what}-----", *lines, f"-----END {what}-----", ""))


def _read_pem(path: Path, what: str) -> bytes:
    try:
        with path.open("rb") as file:
            text = file.read(KEY_FILE_MAX_BYTES).decode("ascii")
    except (OSError, ValueError) as error:
        raise _no_key(str(path), str(error)) from error
    return _from_pem(text, what, str(path))


def _from_pem(text: str, what: str, named: str) -> bytes:
    try:
        _, _, rest = text.partition(f"-----BEGIN {what}-----")
        inner, end, _ = rest.partition(f"-----END {what}-----")
        der = base64.b64decode("".join(inner.split()), validate=True)
    except (ValueError, binascii.Error) as error:
        raise _no_key(named, str(error)) from error
    if not end:
        raise _no_key(named, f"It holds no {what.lower()} as PEM.")
    return der


def _no_key(named: str, why: str) -> SupplyError:
    return SupplyError(
        f"{printable(named, limit_chars=200)} is no key.",
        why=why,
        fix="hive trust key FILE     makes a pair: FILE and FILE.pub",
    )
