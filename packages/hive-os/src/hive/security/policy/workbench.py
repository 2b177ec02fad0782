"""Bundles without a node: tried, asked, explained, signed; what the commands that need no node stand on."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hive.core.errors import PolicyError
from hive.core.randomness import Randomness
from hive.security.policy.bundle import (
    MANIFEST,
    SIGNATURE,
    Bundle,
    declare,
    manifest_bytes,
    manifest_of,
    read_bundle,
)
from hive.security.policy.drivers import POLICIES
from hive.security.policy.ports import Explanation, PolicyDecision, PolicyQuestion, TrialReport
from hive.security.policy.question import encoded
from hive.security.policy.signing import private_pem, public_pem, read_private_key, sign_bundle
from hive.security.policy.standing import decision_of, shipped_bundle

TIMEOUT_S: Final = 10.0
_KEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Worked:
    """An answer of a bundle with the lines that took part in it."""

    decision: PolicyDecision
    explanation: Explanation


def engine_url(bundle: Bundle) -> str:
    """Return the engine in this process that a bundle is written for."""
    rego = any(True for _ in bundle.modules(".rego"))
    return "regorus:" if rego else "cedar:"


async def try_out(bundle: Bundle) -> TrialReport:
    """Compile and test a bundle as a node would before it stands. Raises PolicyError."""
    return await POLICIES.load(url := engine_url(bundle))(url, timeout_s=TIMEOUT_S).trial(bundle)


async def work_out(bundle: Bundle, question: PolicyQuestion) -> Worked:
    """Ask a bundle one question. Raises PolicyError."""
    driver = POLICIES.load(url := engine_url(bundle))(url, timeout_s=TIMEOUT_S)
    try:
        found = await driver.explain(bundle, encoded(question))
        return Worked(decision=decision_of(found.document, bundle.version), explanation=found)
    except ValueError as error:
        raise PolicyError("The policy has no answer.", why=str(error)) from error


def lay_out_shipped(folder: Path) -> int:
    """Write the shipped rules with their tests into a folder, to begin with; return how many files.

    Raises:
        PolicyError: the folder holds something already.

    """
    if folder.exists() and any(folder.iterdir()):
        raise PolicyError(f"{folder} is not empty.", fix="Name a folder that is not there yet.")
    files = shipped_bundle().files
    for name, data in files.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    return len(files)


def make_pair(file: Path, randomness: Randomness) -> Path:
    """Write a new private key that only its owner may read, and its public half beside it.

    Raises:
        PolicyError: one of the files is there already.

    """
    public = file.with_name(f"{file.name}.pub")
    private = randomness.token(_KEY_BYTES)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as out:
            out.write(private_pem(private))
        with public.open("x", encoding="ascii") as out:
            out.write(public_pem(private))
    except OSError as error:
        raise PolicyError(f"{file} cannot be written.", why=str(error.strerror)) from error
    return public


def sign_in_place(path: Path, key: Path, *, name: str = "", version: int = 0) -> Bundle:
    """Write a manifest of a folder's files and a signature over it; the version goes up by one unless it is given.

    Raises:
        PolicyError: it is no folder, or the key is none.

    """
    if not path.is_dir():
        raise PolicyError(f"{path} is no folder.", fix="Sign the folder, then pack it with tar.")
    before = _declared(path)
    fresh = read_bundle(path, fresh=True)
    named = name or ("" if before is None else before.manifest.name) or path.resolve().name
    number = version or (1 if before is None else before.manifest.version + 1)
    signed = sign_bundle(declare(fresh, name=named, version=number), read_private_key(key))
    (path / MANIFEST).write_bytes(manifest_bytes(signed.manifest))
    (path / SIGNATURE).write_bytes(signed.signature)
    return signed


def _declared(path: Path) -> Bundle | None:
    """Return what the folder said of itself before; None where it said nothing that still holds."""
    if not (path / MANIFEST).is_file():
        return None
    manifest = manifest_of((path / MANIFEST).read_bytes())
    return Bundle(files={}, manifest=manifest)
