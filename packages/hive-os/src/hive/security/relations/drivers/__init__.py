"""The engines that keep relationships, by URL scheme; the first row is the default."""

from typing import Final

from hive.core.drivers import DriverRow, Table
from hive.security.relations.ports import RelationsDriver

_HERE: Final = "hive.security.relations.drivers"

RELATIONS: Final[Table[RelationsDriver]] = Table(
    port="security.Relations",
    setting="HIVE_RELATIONS_URL",
    rows=(
        DriverRow(
            scheme="postgresql",
            target=f"{_HERE}.postgresql:PostgresqlRelations",
            summary="the node's own database; every write has a revision, every answer names one",
        ),
        DriverRow(
            scheme="openfga",
            target=f"{_HERE}.openfga:OpenFgaRelations",
            summary="an OpenFGA server: `openfga:http://127.0.0.1:8080?store=hive`; `&token=/file`",
        ),
        DriverRow(
            scheme="spicedb",
            target=f"{_HERE}.spicedb:SpiceDbRelations",
            summary="the HTTP gateway of SpiceDB: `spicedb:http://127.0.0.1:8443?token=/file`",
        ),
    ),
)
