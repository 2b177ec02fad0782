"""The operator's file of references: which measurement is which image, and how weak its machine may be.

TOML, a table `[[image]]` for each. It is trusted like a policy: who writes it decides who gets keys.
"""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from hive.core.errors import AttestationError, ConfigError

FILE_MAX_BYTES: Final = 1 << 20
_NAME: Final = r"[a-z0-9][a-z0-9-]{0,62}"


class SnpTcb(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Versions of a chip's firmware (SEV-SNP ABI, TCB_VERSION); `fmc` is known from Turin on."""

    bootloader: int = 0
    tee: int = 0
    snp: int = 0
    microcode: int = 0
    fmc: int = 0


class SnpReference(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag="sev-snp",
    tag_field="kind",
):
    """An image on AMD SEV-SNP. `measurement` is the launch digest, 48 bytes in hex.

    A guest whose memory the host may read (`debug`) counts only where it says so.
    """

    name: str
    measurement: str
    product: str = ""
    minimum_tcb: SnpTcb = SnpTcb()
    vmpl_max: int = 0
    debug: bool = False


class TdxReference(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag="tdx",
    tag_field="kind",
):
    """An image on Intel TDX. `measurement` is MRTD, `rtmr` the run-time registers by number, in hex.

    `statuses` are the verdicts on the machine's firmware that count; `collateral_age_max_s` is how long
    after its next update was due Intel's collateral still counts.
    """

    name: str
    measurement: str
    rtmr: dict[str, str] = {}
    statuses: tuple[str, ...] = ("UpToDate",)
    collateral_age_max_s: int = 0
    debug: bool = False


class TpmReference(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag="tpm2",
    tag_field="kind",
):
    """A machine with a TPM 2.0: `key` is the SHA-256 of its attestation key (SPKI), `registers` its PCRs in hex."""

    name: str
    key: str
    registers: dict[str, str]


Reference: TypeAlias = SnpReference | TdxReference | TpmReference


class _ReferencesFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    image: list[Reference] = []


@dataclass(frozen=True, slots=True)
class References:
    """All references of a file."""

    images: tuple[Reference, ...]

    def of(self, image: str, kind: str) -> Reference:
        """Return the reference of an image on one kind of hardware.

        Raises:
            AttestationError: the file names none.

        """
        for one in self.images:
            if one.name == image and one.__struct_config__.tag == kind:
                return one
        raise AttestationError(
            f"No reference names the image {image!r} on {kind}.",
            why="A key is released only to a measurement that the file of references names.",
            fix="Add an [[image]] to the file of HIVE_MEASUREMENTS.",
        )


def read_references(path: Path) -> References:
    """Read a file of references.

    Raises:
        ConfigError: it is missing, too large, no TOML, or says something that does not exist.

    """
    try:
        data = path.read_bytes()
        if len(data) > FILE_MAX_BYTES:
            raise ValueError(f"it has {len(data)} bytes; the limit is {FILE_MAX_BYTES}")  # noqa: TRY301
        found = msgspec.convert(tomllib.loads(data.decode()), type=_ReferencesFile).image
        for one in found:
            _check(one)
        named = [(one.name, one.__struct_config__.tag) for one in found]
        for pair in named:
            if named.count(pair) > 1:
                raise ValueError(f"it names {pair[0]} on {pair[1]} twice")  # noqa: TRY301
    except (OSError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise ConfigError(
            f"{path} is no file of references.", why=str(error), fix="Correct the file."
        ) from error
    return References(tuple(found))


def _check(one: Reference) -> None:
    """Refuse what could never be measured: it would look like a rule and match nothing, or everything."""
    if not re.fullmatch(_NAME, one.name):
        raise ValueError(f"{one.name!r} is no name of an image")
    if isinstance(one, TpmReference):
        wanted = [(one.key, 64), *((value, 64) for value in one.registers.values())]
        if not one.registers or not all(
            number.isdigit() and int(number) < 24 for number in one.registers
        ):
            raise ValueError(f"{one.name}: registers are PCRs 0 to 23, at least one")
    else:
        wanted = [(one.measurement, 96)]
        wanted += [(value, 96) for value in getattr(one, "rtmr", {}).values()]
        if set(getattr(one, "rtmr", {})) - set("0123"):
            raise ValueError(f"{one.name}: rtmr has the numbers 0 to 3")
    for text, size in wanted:
        if not re.fullmatch(rf"[0-9a-f]{{{size}}}", text):
            raise ValueError(
                f"{one.name}: a measurement has {size} hexadecimal digits in lower case"
            )
