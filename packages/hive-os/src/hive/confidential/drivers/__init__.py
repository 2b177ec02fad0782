"""What judges evidence, by its kind, and what asks the machine for it."""

from typing import Final

from hive.confidential.ports import EvidenceSource, EvidenceVerifier
from hive.core.drivers import DriverRow, Table

_HERE: Final = "hive.confidential.drivers"

VERIFIERS: Final[Table[EvidenceVerifier]] = Table(
    port="attestation",
    setting="The kind of evidence",
    rows=(
        DriverRow(
            scheme="sev-snp",
            target=f"{_HERE}.sev_snp:SnpVerifier",
            summary="reports of AMD SEV-SNP, chained to AMD's roots, offline",
        ),
        DriverRow(
            scheme="tdx",
            target=f"{_HERE}.tdx:TdxVerifier",
            summary="quotes of Intel TDX with Intel's collateral beside them, offline",
            extra="tee",
        ),
        DriverRow(
            scheme="tpm2",
            target=f"{_HERE}.tpm2:TpmVerifier",
            summary="quotes of a TPM 2.0 whose key the references name",
        ),
    ),
)

SOURCES: Final[Table[EvidenceSource]] = Table(
    port="evidence",
    setting="Where evidence comes from",
    rows=(
        DriverRow(
            scheme="tsm",
            target=f"{_HERE}.tsm:TsmSource",
            summary="the kernel's interface to SEV-SNP and TDX (configfs-tsm, Linux 6.7 and newer)",
        ),
    ),
)
