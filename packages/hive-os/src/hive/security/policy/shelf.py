"""What a node remembers of policy between starts: the bundle it was given, and the versions it has seen.

An older bundle is as well signed as the newest, so a signature alone would let somebody bring back a rule that was
mended. The highest version of each name is kept, and what was given by hand is named by digest: where the archive is
gone or another one, nothing stands, rather than the shipped rules in its place.
"""

import os
from pathlib import Path
from typing import Final

import msgspec

from hive.core.errors import PolicyError
from hive.security.policy.bundle import Bundle, bundle_of, unpacked

NAMES_MAX: Final = 1000
TRIED_MAX: Final = 100
_ACTIVE: Final = "active.tar"
_SEEN: Final = "seen.json"


class SeenBundles(msgspec.Struct):
    """What was seen: by name the highest version and its digest, what was tried, and what was given by hand."""

    versions: dict[str, tuple[int, str]] = {}
    tried: list[str] = []
    active: str = ""


class PolicyShelf:
    """The folder `policy` of the state folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: SeenBundles | None = None

    def kept(self) -> Bundle | None:
        """Return the bundle that was given by hand, None where none was.

        Raises:
            PolicyError: one was, and it is gone or another one.

        """
        digest = self._read().active
        if not digest:
            return None
        try:
            bundle = bundle_of(unpacked((self._folder / _ACTIVE).read_bytes()))
        except OSError as error:
            raise _gone(str(error.strerror)) from error
        if bundle.digest != digest:
            raise _gone("The archive in the state folder is another one.")
        return bundle

    def keep(self, bundle: Bundle) -> None:
        """Keep a bundle that was given by hand."""
        self._write_file(_ACTIVE, bundle.archive())
        self._read().active = bundle.digest
        self._write()

    def clear(self) -> None:
        """Forget what was given by hand, not which versions were seen."""
        self._read().active = ""
        self._write()

    def check_not_older(self, bundle: Bundle) -> None:
        """Return where no higher version of a bundle was seen.

        Raises:
            PolicyError: one was, or this version with other contents.

        """
        if _has_no_version(bundle):
            return
        version, digest = self._read().versions.get(bundle.manifest.name, (-1, ""))
        if bundle.manifest.version < version:
            why = f"Version {version} of {bundle.manifest.name} stood here; this is {bundle.manifest.version}."
            raise PolicyError(
                "The bundle is older than one that was seen before.",
                why=why,
                fix="Sign it anew with a higher version, or: hive policy load BUNDLE --older",
            )
        if bundle.manifest.version == version and bundle.digest != digest:
            raise PolicyError(
                "The bundle has the version of another one.",
                why=f"Version {version} of {bundle.manifest.name} was seen with other contents.",
                fix="Give it a higher version: hive policy sign BUNDLE",
            )

    def note_version(self, bundle: Bundle) -> None:
        """Remember a version; with an older one that was let in, remember that instead."""
        versions = self._read().versions
        if _has_no_version(bundle) or len(versions) >= NAMES_MAX:
            return
        said = (bundle.manifest.version, bundle.digest)
        if versions.get(bundle.manifest.name) != said:
            versions[bundle.manifest.name] = said
            self._write()

    def was_tried(self, bundle: Bundle, engine: str) -> bool:
        """Tell whether this very bundle passed its trial on this engine."""
        return f"{engine} {bundle.digest}" in self._read().tried

    def note_tried(self, bundle: Bundle, engine: str) -> None:
        """Remember that it did."""
        tried = self._read().tried
        tried.append(f"{engine} {bundle.digest}")
        del tried[:-TRIED_MAX]
        self._write()

    def _read(self) -> SeenBundles:
        if self._seen is None:
            try:
                data = (self._folder / _SEEN).read_bytes()
                self._seen = msgspec.json.decode(data, type=SeenBundles)
            except FileNotFoundError:
                self._seen = SeenBundles()
            except (OSError, msgspec.MsgspecError) as error:
                raise PolicyError(
                    "What was seen of policy cannot be read.",
                    why=f"{self._folder / _SEEN}: {error}",
                    fix="Restore it from a backup.",
                ) from error
        return self._seen

    def _write(self) -> None:
        self._write_file(_SEEN, msgspec.json.encode(self._read()))

    def _write_file(self, name: str, data: bytes) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = self._folder / f"{name}.part"
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._folder / name)


def _gone(why: str) -> PolicyError:
    return PolicyError(
        "The policy that was loaded here is gone, so nothing may happen.",
        why=why,
        fix="hive policy load BUNDLE     or: hive policy load --default",
    )


def _has_no_version(bundle: Bundle) -> bool:
    """Tell whether nobody gave it a version: a folder as it lies there, which only development takes."""
    return not bundle.declared or not (bundle.signature or bundle.manifest.version)
