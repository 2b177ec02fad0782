"""The engines of the ledger's ports, by URL scheme; the first row of a table is its default."""

from typing import Final

from hive.core.drivers import DriverRow, Table
from hive.ledger.ports import Witness

WITNESSES: Final[Table[Witness]] = Table(
    port="witness",
    setting="HIVE_WITNESS_URL",
    rows=(
        DriverRow(
            scheme="file",
            target="hive.ledger.drivers.file:FileWitness",
            summary="a second key in a folder, best on other media; self-witnessed",
        ),
        DriverRow(
            scheme="hive",
            target="hive.ledger.drivers.hive:HiveWitness",
            summary="another node (C2SP tlog-witness): `hive:https://host:8700/witness?key=KEY`, `&roots=` a CA",
        ),
        DriverRow(
            scheme="rekor",
            target="hive.ledger.drivers.rekor:RekorWitness",
            summary="a Rekor transparency log (v2): `rekor:https://host?key=KEY` of its checkpoints",
        ),
    ),
)
