"""Which files of a source an agent gets to see, read without ever leaving the folder.

The folder is a stranger's: it may hold symbolic links to a key, devices, pipes, huge files or a million
small ones. Every file is opened relative to its folder and never through a link; what looks like a secret
stays out; and the digest covers exactly what will be visible.
"""

import fnmatch
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hive.core.call import sha256_hex
from hive.core.errors import SpecError, TooLargeError
from hive.core.ids import printable
from hive.core.json import encode

FILES_MAX: Final = 5000
ENTRIES_MAX: Final = 50_000
DEPTH_MAX: Final = 32
FILE_MAX_BYTES: Final = 64 << 20
TOTAL_MAX_BYTES: Final = 256 << 20
LEFT_OUT_MAX: Final = 200
BUNDLE_ENDING: Final = ".hive-bundle.json"
BILL_ENDING: Final = ".hive-sbom.json"
_CHUNK_BYTES: Final = 1 << 20
_FIRST_LINE_BYTES: Final = 128

_SECRET_NAMES: Final = (
    ".env", ".env.*", "*.env", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.kdbx", "*.keytab",
    "*.token", "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", ".netrc", "_netrc", ".pypirc", ".npmrc",
    ".pgpass", ".htpasswd", ".git-credentials", "credentials.json", "client_secret*.json",
    "service-account*.json", ".vault-token",
)  # fmt: skip
_SECRET_FOLDERS: Final = (
    ".ssh", ".gnupg", ".aws", ".azure", ".gcloud", ".kube", ".docker", ".password-store",
)  # fmt: skip
_REBUILT_FOLDERS: Final = (
    ".git", ".hg", ".svn", ".venv", "venv", "__pycache__", "node_modules", "__pypackages__",
    ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".tox", ".nox", ".idea", ".vscode",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class SourceFile:
    """One visible file: where it lies below the folder, and what it holds."""

    path: str
    sha256: str
    size_bytes: int
    executable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Visible:
    """The files that an agent will see, and which were left out (`path (why)`)."""

    folder: str
    files: tuple[SourceFile, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Return the SHA-256 over all paths, contents and executable bits."""
        return sha256_hex(encode(self.files))

    @property
    def paths(self) -> dict[str, SourceFile]:
        """Return the files by path."""
        return {file.path: file for file in self.files}

    def read_text(self, path: str, *, limit_bytes: int) -> str:
        """Return the text of a visible file.

        Raises:
            SpecError: it is not visible, not UTF-8 or too large.

        """
        if path not in self.paths:
            raise SpecError(
                f"{printable(path)} is no visible file of {self.folder}.",
                why="It is missing, or it was left out.",
                fix="Check the name.",
            )
        with opened_below(self.folder, path) as descriptor:
            data = _read_bounded(descriptor, limit_bytes, path)
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise SpecError(
                f"{printable(path)} is not UTF-8.",
                why=f"Byte {error.start} does not fit.",
                fix="Save the file as UTF-8.",
            ) from None


def protected_folder(folder: Path, home: Path) -> str:
    """Tell why a folder may not become a source as a whole; "" when it may."""
    if folder == home or folder in home.parents:
        return "it is your home folder or one above it"
    if len(folder.parts) <= 2 or folder == Path("/var/tmp"):  # noqa: S108 - named to be refused
        return "it belongs to the whole machine"
    for part in folder.parts:
        if part in _SECRET_FOLDERS:
            return f"{part} is a place of keys"
    return ""


def visible_files(folder: Path, *, exclude: Sequence[str] = ()) -> Visible:
    """List and digest what an agent from this folder sees.

    Raises:
        TooLargeError: a file, all of them, or their number is over the limit.
        SpecError: the folder cannot be read.

    """
    walk = _Walk(folder, exclude)
    return walk.run()


def visible_named(folder: Path, paths: Sequence[str]) -> Visible:
    """Digest only the named files, for a folder that may not be seen as a whole."""
    walk = _Walk(folder, ())
    for path in paths:
        walk.take(path)
    return walk.result()


class _Walk:
    def __init__(self, folder: Path, exclude: Sequence[str]) -> None:
        self._folder = folder
        self._exclude = tuple(exclude)
        self._files: list[SourceFile] = []
        self._left_out: list[str] = []
        self._entries = 0
        self._bytes = 0

    def run(self) -> Visible:
        try:
            root = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise SpecError(
                f"{self._folder} cannot be read.", why=str(error.strerror), fix="Check the path."
            ) from None
        try:
            self._descend(root, "", 0)
        finally:
            os.close(root)
        return self.result()

    def result(self) -> Visible:
        return Visible(
            folder=str(self._folder),
            files=tuple(sorted(self._files)),
            left_out=tuple(self._left_out),
        )

    def take(self, path: str) -> None:
        """Read one file into the list."""
        if len(self._files) >= FILES_MAX:
            raise _too_large(self._folder, f"more than {FILES_MAX} files")
        with opened_below(str(self._folder), path) as descriptor:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                self._leave(path, "not a plain file")
                return
            self._bytes += status.st_size
            if status.st_size > FILE_MAX_BYTES:
                raise _too_large(self._folder, f"{path} has {status.st_size} bytes")
            if self._bytes > TOTAL_MAX_BYTES:
                raise _too_large(self._folder, f"more than {TOTAL_MAX_BYTES} bytes in all")
            if _is_private_key(descriptor):
                self._bytes -= status.st_size
                self._leave(path, "holds a private key")
                return
            sha256, size = content_digest(descriptor, path)
        executable = bool(status.st_mode & 0o100)
        self._files.append(
            SourceFile(path=path, sha256=sha256, size_bytes=size, executable=executable)
        )

    def _descend(self, descriptor: int, below: str, depth: int) -> None:
        if depth > DEPTH_MAX:
            raise _too_large(self._folder, f"folders more than {DEPTH_MAX} deep")
        if below and _has_file(descriptor, "pyvenv.cfg"):
            self._leave(below, "a Python environment")
            return
        for name, kind in self._names(descriptor):
            path = f"{below}/{name}" if below else name
            reason = self._reason(name, path, kind)
            if reason:
                self._leave(path, reason)
            elif kind == "folder":
                inner = os.open(
                    name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor
                )
                try:
                    self._descend(inner, path, depth + 1)
                finally:
                    os.close(inner)
            elif kind == "link":
                self._take_link(path)
            else:
                self.take(path)

    def _names(self, descriptor: int) -> list[tuple[str, str]]:
        names = []
        with os.scandir(descriptor) as entries:
            for entry in entries:
                self._entries += 1
                if self._entries > ENTRIES_MAX:
                    raise _too_large(self._folder, f"more than {ENTRIES_MAX} entries")
                names.append((entry.name, _kind(entry)))
        return sorted(names)

    def _reason(self, name: str, path: str, kind: str) -> str:
        if kind == "special":
            return "not a plain file"
        if kind == "folder" and name in _REBUILT_FOLDERS:
            return "made again where it is needed"
        if is_secret(name):
            return "looks like a secret"
        try:
            name.encode("utf-8")
        except UnicodeEncodeError:
            return "its name is not UTF-8"
        if any(fnmatch.fnmatch(path, pattern.rstrip("/")) for pattern in self._exclude):
            return "excluded"
        papers = "/" not in path and name.endswith((BUNDLE_ENDING, BILL_ENDING))
        return "a signature is no part of what it signs" if papers else ""

    def _take_link(self, path: str) -> None:
        """Copy what a link names if that is a visible file of the same folder, else leave it out."""
        target = Path(os.path.realpath(self._folder / path))
        if not target.is_relative_to(self._folder) or not target.is_file():
            self._leave(path, "a link out of the folder")
            return
        parts = target.relative_to(self._folder).parts
        if any(is_secret(part) or part in _REBUILT_FOLDERS for part in parts):
            self._leave(path, "a link to what was left out")
            return
        before = len(self._files)
        self.take("/".join(parts))
        if len(self._files) > before:
            file = self._files.pop()
            self._files.append(
                SourceFile(
                    path=path,
                    sha256=file.sha256,
                    size_bytes=file.size_bytes,
                    executable=file.executable,
                )
            )

    def _leave(self, path: str, reason: str) -> None:
        if len(self._left_out) < LEFT_OUT_MAX:
            self._left_out.append(f"{printable(path)[1:-1]} ({reason})")


def is_secret(name: str) -> bool:
    """Tell whether a file or folder of this name holds keys: no agent and no tool server is shown it."""
    lower = name.lower()
    if lower.endswith((".env.example", ".env.sample", ".env.template")):
        return False
    return lower in _SECRET_FOLDERS or any(fnmatch.fnmatch(lower, one) for one in _SECRET_NAMES)


def _is_private_key(descriptor: int) -> bool:
    """Tell whether a file is a private key in PEM, whatever its name: it begins as one."""
    first = os.pread(descriptor, _FIRST_LINE_BYTES, 0).lstrip().partition(b"\n")[0]
    return first.startswith(b"-----BEGIN ") and b"PRIVATE KEY" in first


def _kind(entry: "os.DirEntry[str]") -> str:
    if entry.is_symlink():
        return "link"
    if entry.is_dir(follow_symlinks=False):
        return "folder"
    return "file" if entry.is_file(follow_symlinks=False) else "special"


def _has_file(descriptor: int, name: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode)
    except OSError:
        return False


@contextmanager
def opened_below(folder: str, path: str) -> Iterator[int]:
    """Open a file below a folder, through no link: each part is opened relative to the one before."""
    parts = path.split("/")
    opened = [os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)]
    try:
        for part in parts[:-1]:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            opened.append(os.open(part, flags, dir_fd=opened[-1]))
        # O_NONBLOCK: a pipe put in place of the file must not make the reader wait.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        opened.append(os.open(parts[-1], flags, dir_fd=opened[-1]))
        yield opened[-1]
    except OSError as error:
        raise SpecError(
            f"{printable(path)} in {folder} cannot be read.",
            why=f"{error.strerror}; links out of the folder are never followed.",
            fix="Check the file and its permissions.",
        ) from None
    finally:
        for descriptor in reversed(opened):
            os.close(descriptor)


def _read_bounded(descriptor: int, limit_bytes: int, path: str) -> bytes:
    data = b""
    while chunk := os.read(descriptor, _CHUNK_BYTES):
        data += chunk
        if len(data) > limit_bytes:
            raise TooLargeError(
                f"{printable(path)} is too large.",
                why=f"At most {limit_bytes} bytes are read.",
                fix="Shorten the file.",
            )
    return data


def content_digest(descriptor: int, path: str) -> tuple[str, int]:
    """Return the SHA-256 and the size of an open file.

    Raises:
        TooLargeError: it has more than `FILE_MAX_BYTES`.

    """
    digest, size = hashlib.sha256(), 0
    while chunk := os.read(descriptor, _CHUNK_BYTES):
        size += len(chunk)
        if size > FILE_MAX_BYTES:
            raise TooLargeError(
                f"{printable(path)} grows while it is read.",
                why=f"A file may have {FILE_MAX_BYTES} bytes.",
                fix="Stop what writes it, or exclude it in hive-agent.toml.",
            )
        digest.update(chunk)
    return digest.hexdigest(), size


def _too_large(folder: Path, why: str) -> TooLargeError:
    return TooLargeError(
        f"The folder {folder} is too large for a source.",
        why=f"It has {why}.",
        fix='Move the agent into a folder of its own, or leave parts out: exclude = ["data/*"] '
        "in hive-agent.toml. Data belongs into `--mount`.",
    )
