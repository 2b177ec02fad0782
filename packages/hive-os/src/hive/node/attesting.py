"""Releasing keys of images from this node: references from the operator's file, keys from the vault, each on record."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from hive.core.errors import NotFoundError
from hive.core.json import Json
from hive.kernel.record import event
from hive.node.build import Node
from hive.node.http import App
from hive.security.vault import Vault
from hive_a2a.crypto import derive_key

if TYPE_CHECKING:
    from hive.confidential import Attested, KeyRelease, References

NAMES: Final = "image-{}"
"""How the vault names the key of an image."""
_PURPOSE: Final = b"hive image key challenges v1"


def opened_attestation(node: Node) -> App | None:
    """Open the door for guests; None where the settings name no references.

    The file is read anew for each release, so an image that was taken out of it gets nothing from then on.

    Raises:
        ConfigError: the file cannot be used.

    """
    if not node.settings.measurements or node.models is None:
        return None
    from hive.confidential import read_references
    from hive.protocols.attestation import AttestationDoor

    path = Path(node.settings.measurements)
    read_references(path)
    return AttestationDoor(_release(node, node.models.vault, path))


def _release(node: Node, vault: Vault, path: Path) -> "KeyRelease":
    from hive.confidential import KeyRelease, read_references
    from hive.confidential.drivers import VERIFIERS

    def references() -> "References":
        return read_references(path)

    async def keys(image: str) -> bytes | None:
        try:
            return bytes.fromhex((await vault.get(NAMES.format(image))).reveal().strip())
        except (NotFoundError, ValueError):
            return None

    async def note(judged: "Attested") -> None:
        body: dict[str, Json] = {
            "image": judged.image,
            "kind": judged.kind,
            "measurement": judged.measurement.hex(),
            "facts": dict(judged.facts),
        }
        await node.kernel.writer.append(event("image.key.released", body, clock=node.clock))

    return KeyRelease(
        references=references,
        verifier=lambda kind: VERIFIERS.load(kind)(),
        keys=keys,
        note=note,
        code_key=derive_key(node.state.master_key, info=_PURPOSE),
        clock=node.clock,
        randomness=node.randomness,
    )
