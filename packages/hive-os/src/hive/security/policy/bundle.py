"""A policy bundle: rules, their tests, data, a manifest that names every file by digest, and a signature over that.

A bundle is a folder or a tar archive (plain or gzip) with

    manifest.json     {"name", "version", "files": {path: sha256}}; a folder being worked on needs none
    signature.json    a DSSE envelope over the manifest
    data.json         what the rules look up, under `data`
    relations.json    which relationships are looked up for a call, before the rules are asked
    *.rego, *_test.rego, *.cedar     at any depth
"""

import io
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Final

import msgspec

from hive.core.errors import PolicyError
from hive.core.ids import plain_text
from hive.core.json import depth_exceeds, encode
from hive.security.policy.related import RELATED, related_in

MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "signature.json"
DATA: Final = "data.json"
FILES_MAX: Final = 500
FILE_MAX_BYTES: Final = 1 << 20
BUNDLE_MAX_BYTES: Final = 8 << 20
NAME_MAX_CHARS: Final = 63
VERSION_MAX: Final = 2**53
_SUFFIXES: Final = (".rego", ".cedar", ".cedarschema")


class BundleManifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a bundle says of itself. A higher `version` replaces a lower one of the same name, never the reverse."""

    name: str
    version: int
    files: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """All files of a bundle in memory, as they were read at one moment."""

    files: Mapping[str, bytes]
    manifest: BundleManifest
    signature: bytes = b""
    declared: bool = True
    """False where the folder holds no manifest yet, so that nothing can vouch for it."""
    digest: str = field(default="")

    @property
    def version(self) -> str:
        """Return how a decision names this bundle."""
        return f"{self.manifest.name}@{self.manifest.version}+{self.digest[:12]}"

    @property
    def data(self) -> str:
        """Return the data document."""
        return self.files.get(DATA, b"{}").decode()

    def modules(self, suffix: str) -> Iterator[tuple[str, str]]:
        """Yield files of a kind with their text, in the order of their names."""
        for path in sorted(self.files):
            if path.endswith(suffix):
                yield path, self.files[path].decode()

    def archive(self) -> bytes:
        """Return the bundle as a tar archive; equal bundles give equal bytes."""
        whole = {**self.files, MANIFEST: manifest_bytes(self.manifest)}
        if self.signature:
            whole[SIGNATURE] = self.signature
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for path in sorted(whole):
                about = tarfile.TarInfo(path)
                about.size = len(whole[path])
                tar.addfile(about, io.BytesIO(whole[path]))
        return out.getvalue()


def manifest_bytes(manifest: BundleManifest) -> bytes:
    """Return the bytes that are hashed and signed."""
    return encode(manifest)


def bundle_of(files: Mapping[str, bytes]) -> Bundle:
    """Make a bundle of files by their paths.

    Raises:
        PolicyError: it is none, or its manifest names other files than there are.

    """
    kept = {path: data for path, data in files.items() if path not in (MANIFEST, SIGNATURE)}
    for path, data in kept.items():
        _check_text(path, data)
    _check_data(kept.get(DATA, b"{}"))
    related_in(kept.get(RELATED, b"{}"))
    if not any(path.endswith(_SUFFIXES) for path in kept):
        raise _unusable("It holds no rules.", fix="Put *.rego files into it: hive policy init DIR")
    written = files.get(MANIFEST)
    if written is None:
        made = BundleManifest(name="unnamed", version=0, files=digests(kept))
    else:
        made = manifest_of(written)
        _compare(made.files, digests(kept))
    return Bundle(
        files=kept,
        manifest=made,
        signature=files.get(SIGNATURE, b""),
        declared=written is not None,
        digest=sha256(manifest_bytes(made)).hexdigest(),
    )


def declare(bundle: Bundle, *, name: str, version: int) -> Bundle:
    """Return a bundle with a manifest that names its files as they are now, unsigned.

    Raises:
        PolicyError: the name or version cannot be used.

    """
    manifest = manifest_of(
        encode(BundleManifest(name=name, version=version, files=digests(bundle.files)))
    )
    digest = sha256(manifest_bytes(manifest)).hexdigest()
    return replace(bundle, manifest=manifest, signature=b"", declared=True, digest=digest)


def digests(files: Mapping[str, bytes]) -> dict[str, str]:
    """Return the SHA-256 of each file."""
    return {path: sha256(files[path]).hexdigest() for path in sorted(files)}


def read_bundle(path: Path, *, fresh: bool = False) -> Bundle:
    """Read a bundle from a folder or an archive; with `fresh`, what its manifest and signature say is left out.

    Raises:
        PolicyError: it cannot be read, is too large, or is not whole.

    """
    try:
        files = _from_folder(path) if path.is_dir() else unpacked(path.read_bytes())
    except OSError as error:
        raise _unusable(
            f"{path}: {error.strerror or error}", fix="Name a folder or a tar archive."
        ) from error
    if fresh:
        files = {name: data for name, data in files.items() if name not in (MANIFEST, SIGNATURE)}
    return bundle_of(files)


def unpacked(archive: bytes) -> dict[str, bytes]:
    """Return the files of an archive. Raises PolicyError."""
    if len(archive) > BUNDLE_MAX_BYTES:
        raise _unusable(f"It has {len(archive)} bytes; at most {BUNDLE_MAX_BYTES} are read.")
    files: dict[str, bytes] = {}
    left = BUNDLE_MAX_BYTES
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:*") as tar:
            for about in tar:
                if about.isdir():
                    continue
                path = about.name.removeprefix("./")
                if not about.isfile() or path in files:
                    raise _unusable(
                        f"{plain_text(path)[:100]} is no plain file, or stands in it twice."
                    )
                left -= about.size
                if about.size > FILE_MAX_BYTES or left < 0 or len(files) >= FILES_MAX:
                    raise _unusable("It is too large, or has too many files.")
                content = tar.extractfile(about)
                if _is_part(path) and content is not None:
                    files[_path(path)] = content.read(FILE_MAX_BYTES + 1)
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise _unusable(f"It is no tar archive: {error}") from error
    return files


def _from_folder(folder: Path) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    left = BUNDLE_MAX_BYTES
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not _is_part(name) or path.is_symlink() or not path.is_file():
            continue
        data = path.read_bytes()
        left -= len(data)
        if len(data) > FILE_MAX_BYTES or left < 0 or len(files) >= FILES_MAX:
            raise _unusable("It is too large, or has too many files.")
        files[_path(name)] = data
    return files


def _is_part(path: str) -> bool:
    return path in (MANIFEST, SIGNATURE, DATA, RELATED) or path.endswith(_SUFFIXES)


def _path(path: str) -> str:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not path.isascii() or not path.isprintable():
        raise _unusable(f"{plain_text(path)[:100]!r} is no path inside a bundle.")
    return path


def _check_text(path: str, data: bytes) -> None:
    _path(path)
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise _unusable(f"{path} is not UTF-8: {error.reason}.") from error


def _check_data(data: bytes) -> None:
    try:
        found = None if depth_exceeds(data) else msgspec.json.decode(data)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise _unusable(f"{DATA} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise _unusable(f"{DATA} holds no object, or is nested too deeply.")
    if "hive" in found:
        raise _unusable(f"{DATA} has the key `hive`, which is where rules stand.")


def manifest_of(data: bytes) -> BundleManifest:
    """Read a manifest. Raises PolicyError."""
    try:
        made = msgspec.json.decode(data, type=BundleManifest)
    except msgspec.MsgspecError as error:
        raise _unusable(f"{MANIFEST}: {error}") from error
    plain = made.name.isascii() and made.name.replace("-", "").isalnum()
    if not plain or not made.name or len(made.name) > NAME_MAX_CHARS:
        raise _unusable(
            f"{MANIFEST}: a name has letters, digits and '-', at most {NAME_MAX_CHARS}."
        )
    if not 0 <= made.version < VERSION_MAX:
        raise _unusable(f"{MANIFEST}: a version is a whole number from 0 on.")
    return made


def _compare(said: Mapping[str, str], found: Mapping[str, str]) -> None:
    changed = sorted(path for path in said.keys() & found.keys() if said[path] != found[path])
    missing, more = sorted(said.keys() - found.keys()), sorted(found.keys() - said.keys())
    told = [
        f"{what}: {', '.join(plain_text(one) for one in names[:5])}"
        for what, names in (("changed", changed), ("missing", missing), ("not named", more))
        if names
    ]
    if told:
        raise PolicyError(
            "The bundle is not what its manifest says.",
            why="; ".join(told),
            fix="hive policy sign BUNDLE     writes the manifest anew",
        )


def _unusable(why: str, *, fix: str = "") -> PolicyError:
    return PolicyError("The policy bundle cannot be used.", why=why, fix=fix)
