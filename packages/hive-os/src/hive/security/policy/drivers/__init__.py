"""The engines that answer questions; the first row is the default."""

from typing import Final

from hive.core.drivers import DriverRow, Table
from hive.security.policy.ports import PolicyDriver, RoleOpening

_HERE: Final = "hive.security.policy.drivers"

ROLES: Final[Table[RoleOpening]] = Table(
    port="security.RoleBook",
    setting="HIVE_ROLES_URL",
    rows=(
        DriverRow(
            scheme="casbin",
            target=f"{_HERE}.casbin_roles:CasbinRoles",
            summary="Casbin, with the shipped permissions; `casbin:/path/roles.csv` names others",
        ),
    ),
)

POLICIES: Final[Table[PolicyDriver]] = Table(
    port="security.PolicyEngine",
    setting="HIVE_POLICY_URL",
    rows=(
        DriverRow(
            scheme="regorus",
            target=f"{_HERE}.regorus:RegorusDriver",
            summary="Rego v1 in this process, from the bundle that stands",
        ),
        DriverRow(
            scheme="opa",
            target=f"{_HERE}.opa:OpaDriver",
            summary="an Open Policy Agent server: `opa:http://127.0.0.1:8181`; it has its own rules",
        ),
        DriverRow(
            scheme="cedar",
            target=f"{_HERE}.cedar:CedarDriver",
            summary="Cedar in this process, from the bundle; or a Cedar agent: `cedar:http://127.0.0.1:8180`",
            extra="cedar",
        ),
    ),
)
