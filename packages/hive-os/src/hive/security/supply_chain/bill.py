"""Bills of materials (CycloneDX JSON), as they are compared: does the bill say what the locks pin?

Writing one is a driver's work; comparing needs nothing but JSON. A bill may say more (what a build brought along from a
range), never less and never something else than a lock.
"""

import re
from typing import Final
from urllib.parse import unquote

from hive.core.json import Json
from hive.security.supply_chain.locks import PinnedPart, plain_name
from hive.security.supply_chain.strict_json import decode_strict, malformed

SPEC_VERSIONS: Final = ("1.4", "1.5", "1.6", "1.7")
COMPONENTS_MAX: Final = 50_000
_PURL: Final = re.compile(r"pkg:(?P<type>[a-z]+)/(?P<name>[^@?#]+)@(?P<version>[^?#]+)")


def bill_parts(data: bytes) -> dict[str, tuple[str, ...]]:
    """Return the components of a bill: package URL without qualifiers, and its SHA-256 hashes.

    Raises:
        SupplyError: it is no CycloneDX bill.

    """
    document = decode_strict(data, what="The bill of materials")
    match document:
        case {"bomFormat": "CycloneDX", "specVersion": str(version), **rest} if (
            version in SPEC_VERSIONS
        ):
            components = rest.get("components", [])
        case _:
            raise malformed("The bill of materials", "It is no CycloneDX 1.4 to 1.7 in JSON.")
    if not isinstance(components, list) or len(components) > COMPONENTS_MAX:
        raise malformed("The bill of materials", "Its components are no list, or too many.")
    return dict(filter(None, map(_component, components)))


def bill_problem(data: bytes, pinned: list[PinnedPart]) -> str:
    """Tell what a bill leaves out or says otherwise than the locks; "" where it fits.

    Raises:
        SupplyError: it is no CycloneDX bill.

    """
    said = bill_parts(data)
    for part in pinned:
        hashes = said.get(part.purl)
        if hashes is None:
            return f"The bill of materials does not name {part.name} {part.version}, which the lock pins."
        if part.hashes and set(hashes) - set(part.hashes):
            return f"The bill of materials has another hash of {part.name} than the lock."
    names = {part.purl.rpartition("@")[0] for part in pinned}
    pins = {part.purl for part in pinned}
    other = sorted(one for one in said if one.rpartition("@")[0] in names and one not in pins)
    if other:
        return f"The bill of materials names {other[0]}, and the lock pins another version."
    return ""


def _component(one: Json) -> tuple[str, tuple[str, ...]] | None:
    match one:
        case {"purl": str(purl), **rest}:
            found = _PURL.match(purl)
            if found:
                name = unquote(found["name"])
                plain = plain_name(name) if found["type"] == "pypi" else name.replace("@", "%40", 1)
                named = f"pkg:{found['type']}/{plain}@{unquote(found['version'])}"
                return named, _sha256_of(rest.get("hashes"))
    return None


def _sha256_of(hashes: object) -> tuple[str, ...]:
    found = []
    for one in hashes if isinstance(hashes, list) else ():
        match one:
            case {"alg": "SHA-256", "content": str(content)}:
                found.append(content)
    return tuple(found)
