"""Where environments lie on disk: complete ones by digest, unfinished ones apart, one cache an owner.

Anything may be killed at any time: an environment appears by one rename, with its manifest inside, and what
an interrupted build left is removed by the next one.
"""

import fcntl
import os
import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import anyio
import msgspec
from anyio import to_thread

from hive.core.call import sha256_hex
from hive.core.errors import BuildError
from hive.core.grant import HostRule
from hive.core.ids import OwnerId
from hive.core.json import encode
from hive.execution.environment_startup import folder_bytes
from hive.execution.source_copy import discard

MANIFEST: Final = "hive-environment.json"
LOCK_POLL_S: Final = 0.1
_BUILDING: Final = ".building-"
_HOSTS_FILE: Final = "index-hosts.json"
_FLAT_ENVIRONMENT_BYTES: Final = 64 << 20


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an environment holds; it lies inside it, written last.

    `integrity` is what the registry's client checked each package against, where it tells.
    """

    digest: str
    requirements: tuple[str, ...]
    python: str
    uv: str
    allow_build: bool
    packages: dict[str, str]
    startup: tuple[str, ...]
    size_bytes: int
    built_at: datetime
    integrity: dict[str, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildFolder:
    """The folder of one build in progress: the environment to be, and what the builder reads."""

    top: Path
    environment: Path
    work: Path


class _KnownHosts(msgspec.Struct, frozen=True, kw_only=True):
    hosts: dict[str, tuple[HostRule, ...]]


class EnvironmentStore:
    """The folder `environments/` and the builders' caches in a node's state."""

    def __init__(self, state: Path) -> None:
        self._top = state / "environments"
        self._caches = state / "builders"

    def place(self, digest: str) -> Path:
        """Return where an environment lies, or would lie."""
        return self._top / digest

    def cache(self, owner: OwnerId, allow_build: bool, client: str = "") -> Path:  # noqa: FBT001 - run in a thread, by position
        """Return an owner's own cache; builds never write the one that wheels come from.

        A package client other than the default has its own.
        """
        kind = client + ("builds" if allow_build else "wheels")
        folder = self._caches / sha256_hex(owner.encode())[:16] / kind
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.utime(folder)
        return folder

    def find(self, digest: str) -> Manifest | None:
        """Return a complete environment's manifest; it counts as used now."""
        manifest = self._manifest(self.place(digest))
        if manifest is None or manifest.digest != digest:
            return None
        os.utime(self.place(digest))
        return manifest

    def publish(self, folder: BuildFolder, manifest: Manifest) -> None:
        """Make a sealed environment appear, at once and for good."""
        path = folder.environment / MANIFEST
        with path.open("wb") as stream:
            stream.write(msgspec.json.encode(manifest))
            stream.flush()
            os.fsync(stream.fileno())
        path.chmod(0o444)
        place = self.place(manifest.digest)
        discard(place)
        folder.environment.rename(place)

    @asynccontextmanager
    async def locked(self, digest: str, *, timeout_s: float) -> AsyncIterator[None]:
        """Let one build of a digest run, whichever process asks; a killed one frees it.

        Raises:
            BuildError: another build takes too long.

        """
        self._top.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(
            self._top / f".lock-{digest}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            for _ in range(int(timeout_s / LOCK_POLL_S)):
                if _try_lock(descriptor):
                    break
                await anyio.sleep(LOCK_POLL_S)
            else:
                raise BuildError(
                    "Another build of the same environment does not end.",
                    why=f"Waited {timeout_s:.0f} s for it.",
                    fix="Stop the other `hive` that builds it.",
                )
            yield
        finally:
            os.close(descriptor)

    @asynccontextmanager
    async def building(self, digest: str) -> AsyncIterator[BuildFolder]:
        """Make the folder of one build; remove it afterwards, with what killed builds left."""
        await to_thread.run_sync(self._clear, digest)
        top = self._top / f"{_BUILDING}{digest}-{secrets.token_hex(8)}"
        folder = BuildFolder(top=top, environment=top / "environment", work=top / "work")
        try:
            for one in (folder.top, folder.environment, folder.work):
                one.mkdir(parents=True, mode=0o755)
            yield folder
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(discard, top)

    def remembered_hosts(self, url: str) -> tuple[HostRule, ...]:
        """Return the hosts that an index named earlier."""
        return self._known_hosts().get(sha256_hex(url.encode()), ())

    def remember_hosts(self, url: str, hosts: tuple[HostRule, ...]) -> None:
        """Keep the hosts that an index named."""
        known = {**self._known_hosts(), sha256_hex(url.encode()): hosts}
        coming = self._top / f".coming-{secrets.token_hex(8)}"
        coming.write_bytes(encode(_KnownHosts(hosts=known)))
        coming.rename(self._top / _HOSTS_FILE)

    def free_bytes(self) -> int:
        """Return the free disk under the environments."""
        return shutil.disk_usage(self._top).free

    async def trim(self, keep: frozenset[str], *, max_bytes: int) -> int:
        """Remove what was used longest ago until the rest fits; return the bytes removed."""
        removed = await to_thread.run_sync(self._trim_environments, keep, max_bytes)
        return removed + await to_thread.run_sync(self._trim_caches, max_bytes)

    def _trim_environments(self, keep: frozenset[str], max_bytes: int) -> int:
        if not self._top.is_dir():
            return 0
        places = [
            one for one in self._top.iterdir() if one.is_dir() and not one.name.startswith(".")
        ]
        sized = [(one.stat().st_mtime, one, self._size(one)) for one in places]
        total, removed = sum(size for _, _, size in sized), 0
        for _, place, size in sorted(sized):
            if total - removed <= max_bytes:
                break
            if place.name not in keep and self._remove(place):
                removed += size
        return removed

    def _trim_caches(self, max_bytes: int) -> int:
        caches = [one for one in self._caches.glob("*/*") if one.is_dir()]
        sized = [(one.stat().st_mtime, one, folder_bytes(one)) for one in caches]
        total, removed = sum(size for _, _, size in sized), 0
        for _, cache, size in sorted(sized):
            if total - removed <= max_bytes:
                break
            discard(cache)
            removed += size
        return removed

    def _remove(self, place: Path) -> bool:
        """Remove an environment that nobody builds right now."""
        lock = self._top / f".lock-{place.name}"
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if not _try_lock(descriptor):
                return False
            # Out of sight first: what is half removed must not be found.
            gone = self._top / f"{_BUILDING}{place.name}-{secrets.token_hex(8)}"
            place.rename(gone)
            discard(gone)
        finally:
            os.close(descriptor)
        return True

    def _size(self, place: Path) -> int:
        manifest = self._manifest(place)
        return manifest.size_bytes if manifest else _FLAT_ENVIRONMENT_BYTES

    def _clear(self, digest: str) -> None:
        self._top.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in self._top.glob(f"{_BUILDING}{digest}-*"):
            discard(left)

    def _manifest(self, place: Path) -> Manifest | None:
        try:
            return msgspec.json.decode((place / MANIFEST).read_bytes(), type=Manifest)
        except (OSError, msgspec.MsgspecError):
            return None

    def _known_hosts(self) -> dict[str, tuple[HostRule, ...]]:
        try:
            data = (self._top / _HOSTS_FILE).read_bytes()
            return msgspec.json.decode(data, type=_KnownHosts).hosts
        except (OSError, msgspec.MsgspecError):
            return {}


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
