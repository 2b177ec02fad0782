"""Who can check signatures, by URL scheme; the first row is the default."""

from typing import Final

from hive.core.drivers import DriverRow, Table
from hive.security.supply_chain.ports import BillWriter, VerifierDriver

_HERE: Final = "hive.security.supply_chain.drivers"

VERIFIERS: Final[Table[VerifierDriver]] = Table(
    port="verifier",
    setting="HIVE_VERIFY_URL",
    rows=(
        DriverRow(
            scheme="keyring",
            target=f"{_HERE}.keyring:KeyringVerifier",
            summary="Ed25519 or ECDSA keys in a folder, the state folder's `trust` unless a path is named",
        ),
        DriverRow(
            scheme="sigstore",
            target=f"{_HERE}.sigstore:SigstoreVerifier",
            summary="keyless bundles, verified offline; `?issuer=` and `?subject=` pin who, `&root=` a trust root",
            extra="sigstore",
        ),
        DriverRow(
            scheme="cosign",
            target=f"{_HERE}.cosign:CosignVerifier",
            summary="OCI images signed by cosign with a key; `cosign:/path/cosign.pub`",
        ),
    ),
)

BILLS: Final[Table[BillWriter]] = Table(
    port="bill",
    setting="The form of a bill of materials",
    rows=(
        DriverRow(
            scheme="cyclonedx",
            target=f"{_HERE}.cyclonedx:CycloneDxBill",
            summary="CycloneDX 1.6 in JSON",
        ),
    ),
)
