"""Engines of warrants, by the scheme of `HIVE_WARRANTS_URL`."""

from typing import Final

from hive.core.drivers import DriverRow, Table
from hive.security.capability.ports import Warrants

WARRANTS: Final[Table[Warrants]] = Table(
    port="warrants",
    setting="HIVE_WARRANTS_URL",
    rows=(
        DriverRow(
            scheme="tenuo",
            target="hive.security.capability.drivers.tenuo:TenuoEngine",
            summary="Ed25519 warrants in the open format of tenuo, as the SDK shows them",
        ),
    ),
)
