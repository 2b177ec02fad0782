"""A warrant as the ledger and the wire keep it: plain JSON, read back strictly."""

from datetime import datetime

import msgspec

from hive.core.call import Verb
from hive.core.errors import BadInputError
from hive.core.json import Json, encode
from hive.security.capability.ports import Capability, Terms
from hive.security.capability.warrant import Warrant


class CapabilityLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """A capability: verb, target, conditions."""

    verb: str
    target: str
    arguments: tuple[tuple[str, str], ...] | None = None


class TermsLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One link."""

    can: tuple[CapabilityLine, ...]
    paths: tuple[str, ...] | None = None


class WarrantRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A warrant as an intent keeps it."""

    id: str
    issuer: str
    holder: str
    links: tuple[TermsLine, ...]
    not_after: datetime
    minted_at: datetime
    depth: int
    task: str = ""
    parents: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()


def terms_line(terms: Terms) -> TermsLine:
    """Return terms as they are kept."""
    return TermsLine(
        can=tuple(
            CapabilityLine(one.verb.value, one.target, one.arguments) for one in terms.capabilities
        ),
        paths=terms.paths,
    )


def terms_from(line: TermsLine) -> Terms:
    """Return terms as they were kept. Raises BadInputError."""
    try:
        capabilities = tuple(
            Capability(verb=Verb(one.verb), target=one.target, arguments=one.arguments)
            for one in line.can
        )
    except ValueError:
        raise BadInputError("A warrant has a verb that is not known here.") from None
    return Terms(capabilities=capabilities, paths=line.paths)


def write_warrant(warrant: Warrant) -> dict[str, Json]:
    """Return a warrant as JSON."""
    record = WarrantRecord(
        id=warrant.id,
        issuer=warrant.issuer,
        holder=warrant.holder,
        links=tuple(terms_line(one) for one in warrant.links),
        not_after=warrant.not_after,
        minted_at=warrant.minted_at,
        depth=warrant.depth,
        task=warrant.task,
        parents=warrant.parents,
        marks=tuple(sorted(warrant.marks)),
    )
    written: dict[str, Json] = msgspec.to_builtins(record)
    return written


def read_warrant(value: object) -> Warrant:
    """Read a warrant back.

    Raises:
        BadInputError: it is none.

    """
    try:
        kept = msgspec.convert(value, WarrantRecord)
    except msgspec.ValidationError as error:
        raise BadInputError("A warrant of the record cannot be read.", why=str(error)) from None
    return Warrant(
        id=kept.id,
        issuer=kept.issuer,
        holder=kept.holder,
        links=tuple(terms_from(one) for one in kept.links),
        not_after=kept.not_after,
        minted_at=kept.minted_at,
        depth=kept.depth,
        task=kept.task,
        parents=kept.parents,
        marks=frozenset(kept.marks),
    )


def encode_terms(terms: Terms) -> str:
    """Write terms as canonical text: equal terms give equal text."""
    return encode(terms_line(terms)).decode()


def decode_terms(text: str) -> Terms:
    """Read what `encode_terms` wrote. Raises BadInputError."""
    try:
        return terms_from(msgspec.json.decode(text, type=TermsLine))
    except msgspec.MsgspecError as error:
        raise BadInputError("The terms of a warrant cannot be read.", why=str(error)) from None
