"""What a signature says of a package: an in-toto Statement (v1) whose one subject is the package's content.

The subject's digest is the one that is computed of a source before it is copied, and compared again before each start. So
whoever verifies it here has verified what will run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

import msgspec

from hive.core.errors import SupplyError
from hive.core.json import Json, encode
from hive.security.supply_chain.strict_json import decode_strict, malformed

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "urn:hive:package:v1"
_WHAT: Final = "The signed statement"
_SHA512_CHARS: Final = 128


class SignedKind(StrEnum):
    """What a package is."""

    AGENT = "agent"
    TOOL = "tool"
    POLICY = "policy"
    PLUGIN = "plugin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A package as it lies here: its content by digest, and what that asks for.

    `spec` is how it starts and what it is made of, `needs` what it asks for, both as they may be compared on another
    machine; `locks` are its lock files by path.
    """

    kind: SignedKind
    name: str
    version: str
    digest: str
    spec: dict[str, Json] = field(default_factory=dict)
    needs: dict[str, Json] = field(default_factory=dict)
    locks: Mapping[str, bytes] = field(default_factory=dict)


class PackageClaim(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"
):
    """The predicate: what the signer says of the package, beyond its content.

    `locks` and `sbom` are SHA-256 in hexadecimal; `sbom` is empty where none was made.
    """

    kind: SignedKind
    name: str
    version: str
    spec: Mapping[str, object]
    needs: Mapping[str, object]
    locks: dict[str, str]
    issued: datetime
    sbom: str = ""


class _Subject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    digest: dict[str, str]


class _Statement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    type: str = msgspec.field(name="_type")
    subject: list[_Subject]
    predicate_type: str
    predicate: PackageClaim


def statement_of(
    package: Package, *, issued: datetime, sbom: str, locks: Mapping[str, str]
) -> bytes:
    """Return the statement about a package as it is signed."""
    claim = PackageClaim(
        kind=package.kind,
        name=package.name,
        version=package.version,
        spec=package.spec,
        needs=package.needs,
        locks=dict(locks),
        issued=issued.astimezone(UTC).replace(microsecond=0),
        sbom=sbom,
    )
    statement = _Statement(
        type=STATEMENT_TYPE,
        subject=[_Subject(package.name, {"sha256": package.digest})],
        predicate_type=PREDICATE_TYPE,
        predicate=claim,
    )
    return encode(statement)


def subject_problem(payload: bytes, digest: str) -> str:
    """Tell what keeps a statement, ours or another's, from speaking of one artifact; "" when it does.

    `digest` is a SHA-256, or a SHA-512 for packages of a registry that names them so.

    Raises:
        SupplyError: it is no statement about one subject.

    """
    match decode_strict(payload, what=_WHAT):
        case {"_type": str(kind), "subject": [{"digest": dict(said)}]} if kind == STATEMENT_TYPE:
            same = said.get("sha512" if len(digest) == _SHA512_CHARS else "sha256") == digest
            return "" if same else "It was signed for something else than what lies here."
    raise malformed(_WHAT, "It is no in-toto Statement v1 with one subject.")


def read_claim(payload: bytes) -> PackageClaim:
    """Return what a statement of ours says.

    Raises:
        SupplyError: it is none, or is about a number of things.

    """
    document = decode_strict(payload, what=_WHAT)
    try:
        statement = msgspec.convert(document, _Statement)
    except msgspec.ValidationError as error:
        raise malformed(_WHAT, str(error)) from error
    if (statement.type, statement.predicate_type) != (STATEMENT_TYPE, PREDICATE_TYPE):
        raise SupplyError(
            f"{_WHAT} is of another kind.",
            why=f"Its types are not {STATEMENT_TYPE} and {PREDICATE_TYPE}.",
            fix="Sign the source: hive agent sign SOURCE",
        )
    if statement.predicate.issued.tzinfo is None:
        raise malformed(_WHAT, "Its time has no zone.")
    return statement.predicate


def claim_problem(claim: PackageClaim, package: Package) -> str:
    """Tell where a claim and the package that lies here differ; "" where they do not."""
    said = (claim.kind, claim.name, claim.version)
    here = (package.kind, package.name, package.version)
    if said != here:
        return (
            f"It was signed as the {claim.kind} {claim.name} {claim.version}, "
            f"and here it would be the {package.kind} {package.name} {package.version}."
        )
    pairs: tuple[tuple[str, Mapping[str, object], Mapping[str, object]], ...] = (
        ("spec", claim.spec, package.spec),
        ("needs", claim.needs, package.needs),
    )
    for what, signed, found in pairs:
        other = [key for key in sorted({*signed, *found}) if signed.get(key) != found.get(key)]
        if other:
            return f"What was signed of its {what} is not what lies here: {', '.join(other)}."
    return ""
