"""Bills of materials in CycloneDX 1.6, written by the standard's own library."""

from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from hive.core.call import sha256_hex
from hive.core.json import encode
from hive.security.supply_chain.locks import PinnedPart

if TYPE_CHECKING:
    from cyclonedx.model.component import Component


class CycloneDxBill:
    """Writes them."""

    def write(
        self, *, name: str, version: str, parts: list[PinnedPart], made_at: datetime
    ) -> bytes:
        """Return the bill of a package: what its locks pin, the same bytes for the same input."""
        from cyclonedx.model.bom import Bom
        from cyclonedx.model.component import Component, ComponentType

        bom = Bom(components=[_component(part) for part in parts])
        bom.metadata.component = Component(
            name=name, version=version, type=ComponentType.APPLICATION, bom_ref="package"
        )
        bom.register_dependency(bom.metadata.component, list(bom.components))
        bom.metadata.timestamp = made_at
        seed = sha256_hex(encode([name, version, parts, made_at.isoformat()]))
        bom.serial_number = UUID(hex=seed[:32], version=4)
        from cyclonedx.output.json import JsonV1Dot6

        return JsonV1Dot6(bom).output_as_string(indent=1).encode()


def _component(part: PinnedPart) -> "Component":
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    namespace, _, name = part.name.rpartition("/")
    return Component(
        name=part.name,
        version=part.version,
        type=ComponentType.LIBRARY,
        purl=PackageURL(
            type=part.ecosystem, namespace=namespace or None, name=name, version=part.version
        ),
        bom_ref=part.purl,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=one) for one in part.hashes[:1]]
        if len(part.hashes) == 1
        else [],
    )
