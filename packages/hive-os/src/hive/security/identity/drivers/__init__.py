"""The authorities that can stand behind a node's identities, by URL scheme; the first row is the default."""

from typing import Final

from hive.core.drivers import DriverRow, Table
from hive.security.identity.ports import IssuerDriver

_HERE: Final = "hive.security.identity.drivers"

IDENTITIES: Final[Table[IssuerDriver]] = Table(
    port="identity",
    setting="HIVE_IDENTITY_URL",
    rows=(
        DriverRow(
            scheme="local-ca",
            target=f"{_HERE}.local_ca:LocalAuthority",
            summary="the node's own authority: a root that can be taken away, an intermediate that rotates",
        ),
        DriverRow(
            scheme="spire",
            target=f"{_HERE}.spire:SpireAuthority",
            summary="a SPIRE agent, asked on behalf of each sandbox; `?admin=` names its admin socket",
        ),
        DriverRow(
            scheme="acme",
            target=f"{_HERE}.acme:AcmeAuthority",
            summary="an ACME server such as step-ca gives the node's intermediate; `?name=`, `?listen=`, `?roots=`",
        ),
    ),
)
