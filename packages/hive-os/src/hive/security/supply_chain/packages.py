"""Signing a package and checking one: the signature first, then what was signed, then the bill of materials.

    bundle -> Verifier (who, and over which content) -> statement (this very package) -> bill (what the locks pin)

Any of them may refuse; a document of a stranger that cannot be read is a refusal as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from hive.core.call import Refused
from hive.core.errors import SupplyError
from hive.security.supply_chain.bill import bill_problem
from hive.security.supply_chain.envelope import pre_authentication, write_bundle
from hive.security.supply_chain.locks import lock_hashes, pinned_parts
from hive.security.supply_chain.ports import Verified, Verifier, refused
from hive.security.supply_chain.statement import (
    PAYLOAD_TYPE,
    Package,
    PackageClaim,
    claim_problem,
    read_claim,
    statement_of,
)
from hive.security.supply_chain.trust import PackageSigner


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedPackage:
    """A package that somebody trusted has signed, and what they said of it."""

    verified: Verified
    claim: PackageClaim


def sign_package(
    package: Package, signer: PackageSigner, *, issued: datetime, sbom: bytes | None = None
) -> bytes:
    """Return the bundle that vouches for a package.

    Raises:
        SupplyError: the bill of materials is not what the locks pin.

    """
    payload = unsigned_statement(package, issued=issued, sbom=sbom)
    signature = signer.sign(pre_authentication(PAYLOAD_TYPE, payload))
    return write_bundle(PAYLOAD_TYPE, payload, signer.id, signature)


def unsigned_statement(package: Package, *, issued: datetime, sbom: bytes | None = None) -> bytes:
    """Return the statement about a package, for a signer of another house.

    Raises:
        SupplyError: the bill of materials is not what the locks pin.

    """
    problem = _bill_problem(sbom, package)
    if problem:
        raise SupplyError("The package cannot be signed.", why=problem, fix="Make its bill anew.")
    hashed = "" if sbom is None else sha256(sbom).hexdigest()
    return statement_of(package, issued=issued, sbom=hashed, locks=lock_hashes(package.locks))


async def check_package(
    verifier: Verifier, package: Package, bundle: bytes | None, sbom: bytes | None = None
) -> SignedPackage | Refused:
    """Tell whether a package is signed by somebody trusted, as what it is used for here.

    `bundle` is None where nothing vouches for it; `sbom` is its bill of materials, None where none lies here.
    """
    if bundle is None:
        return refused("It is not signed.")
    verified = await verifier.verify(bundle, package.digest)
    if isinstance(verified, Refused):
        return verified
    if verified.statement is None:
        return refused("What was signed of it says nothing of what it is.", "no in-toto statement")
    try:
        claim = read_claim(verified.statement)
        problem = claim_problem(claim, package) or _parts_problem(claim, package, sbom)
    except SupplyError as error:
        return refused(str(error))
    return refused(problem) if problem else SignedPackage(verified=verified, claim=claim)


def _parts_problem(claim: PackageClaim, package: Package, sbom: bytes | None) -> str:
    if claim.locks != lock_hashes(package.locks):
        return "Its lock files are not those that were signed."
    if sbom is not None and sha256(sbom).hexdigest() != claim.sbom:
        return "Its bill of materials is not the one that was signed."
    return _bill_problem(sbom, package)


def _bill_problem(sbom: bytes | None, package: Package) -> str:
    return (
        ""
        if sbom is None
        else bill_problem(sbom, pinned_parts(package.locks, requirement_lines(package)))
    )


def requirement_lines(package: Package) -> tuple[str, ...]:
    """Return the requirements that a package starts with."""
    found = package.spec.get("requirements")
    lines: Sequence[object] = found if isinstance(found, list) else ()
    return tuple(line for line in lines if isinstance(line, str))
