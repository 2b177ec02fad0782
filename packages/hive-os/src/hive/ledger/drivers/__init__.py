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
    ),
)
