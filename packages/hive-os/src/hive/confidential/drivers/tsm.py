"""Evidence from the kernel: configfs-tsm (Documentation/ABI/testing/configfs-tsm), which SEV-SNP and TDX guests have.

Each question gets a folder of its own. The generation is read around the answer: another process that wrote into
that folder in between would have its own question answered.
"""

import contextlib
import errno
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, Protocol
from uuid import UUID

from hive.confidential.ports import BINDING_BYTES, EvidenceDocument, refused
from hive.core.errors import AttestationError

PLACE: Final = Path("/sys/kernel/config/tsm/report")
ANSWER_MAX_BYTES: Final = 64 << 10
VCEK: Final = UUID("63da758d-e664-4564-adc5-f4b93be8accd")
VLEK: Final = UUID("a8074bc2-a25a-483e-aae6-39c045a0b8a1")
_ENTRY_BYTES: Final = 24
_KINDS: Final = {"sev_guest": "sev-snp", "tdx_guest": "tdx"}


class TsmEntry(Protocol):
    """One question's folder."""

    def read(self, name: str) -> bytes:
        """Return an attribute. Raises OSError."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Write an attribute, in one piece. Raises OSError."""
        ...


class ConfigfsEntry:
    """One question's folder in configfs."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, name: str) -> bytes:
        """Return an attribute. Raises OSError, AttestationError."""
        with (self._path / name).open("rb") as file:
            data = file.read(ANSWER_MAX_BYTES + 1)
        if len(data) > ANSWER_MAX_BYTES:
            raise refused(f"{name} has more than {ANSWER_MAX_BYTES} bytes.")
        return data

    def write(self, name: str, data: bytes) -> None:
        """Write an attribute: configfs takes what one call brings. Raises OSError."""
        handle = os.open(self._path / name, os.O_WRONLY)
        try:
            if os.write(handle, data) != len(data):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
        finally:
            os.close(handle)


@contextlib.contextmanager
def configfs_entry(place: Path = PLACE) -> Iterator[TsmEntry]:
    """Make a folder for one question and take it away again. Raises OSError."""
    path = place / f"hive-{secrets.token_hex(8)}"
    path.mkdir()
    try:
        yield ConfigfsEntry(path)
    finally:
        path.rmdir()


class TsmSource:
    """Asks the kernel; `entry` is another interface in tests."""

    def __init__(
        self, entry: Callable[[], AbstractContextManager[TsmEntry]] = configfs_entry
    ) -> None:
        self._entry = entry

    def probe(self) -> str:
        """Say why there is none here, or nothing."""
        try:
            self.produce(bytes(BINDING_BYTES))
        except AttestationError as error:
            return error.why
        return ""

    def produce(self, binding: bytes) -> EvidenceDocument:
        """Return evidence that carries `binding`. Raises AttestationError."""
        if len(binding) != BINDING_BYTES:
            raise refused(f"{BINDING_BYTES} bytes are bound into evidence, not {len(binding)}.")
        try:
            with self._entry() as entry:
                return _asked(entry, binding)
        except FileNotFoundError as error:
            raise refused(
                "The kernel offers no configfs-tsm: not a confidential guest, or Linux before 6.7."
            ) from error
        except OSError as error:
            raise refused(f"The kernel gives no evidence: {error.strerror}.") from error


def _asked(entry: TsmEntry, binding: bytes) -> EvidenceDocument:
    before = _generation(entry)
    entry.write("inblob", binding)
    provider = entry.read("provider").decode("ascii", "replace").strip()
    kind = _KINDS.get(provider)
    if kind is None:
        raise refused(f"The provider {provider!r} is not known.")
    report = entry.read("outblob")
    certificates = chip_certificates(_auxiliary(entry)) if kind == "sev-snp" else []
    if _generation(entry) != before + 1:
        raise refused("Somebody else asked in the same moment; the answer may be his.")
    return EvidenceDocument(kind=kind, report=report, certificates=certificates)


def _auxiliary(entry: TsmEntry) -> bytes:
    """Return the host's table, which not every host fills."""
    try:
        return entry.read("auxblob")
    except OSError:
        return b""


def _generation(entry: TsmEntry) -> int:
    text = entry.read("generation").strip()
    if not text.isdigit():
        raise refused("The kernel tells no generation.")
    return int(text)


def chip_certificates(table: bytes) -> list[bytes]:
    """Return the chip's certificate out of the host's table (GHCB 2.01, 4.1.8.1); the host is not trusted.

    Raises:
        AttestationError: the table does not add up.

    """
    for at in range(0, len(table) - _ENTRY_BYTES + 1, _ENTRY_BYTES):
        head = table[at : at + _ENTRY_BYTES]
        if not any(head):
            break
        offset, size = (int.from_bytes(head[i : i + 4], "little") for i in (16, 20))
        if UUID(bytes_le=head[:16]) in (VCEK, VLEK) or UUID(bytes=head[:16]) in (VCEK, VLEK):
            found = table[offset : offset + size]
            if not found or len(found) != size:
                raise refused("The host's table of certificates is cut short.")
            return [found]
    return []
