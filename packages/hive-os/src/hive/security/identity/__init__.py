"""Who is this agent, provably? SPIFFE identities for sandboxes and nodes, issued, renewed and revoked.

The identity of an agent is not a secret that it is given: its sandbox has a socket, the kernel says that the caller
is inside, and what it gets lives for an hour. Public: `IdentityService`, `DenyList`, `IssueQuota`, the values of
`ports`, and the table of authorities in `drivers`.
"""

from hive.security.identity.denied import DenyList
from hive.security.identity.enrolments import Enrolment
from hive.security.identity.ports import (
    Denial,
    DeniedKind,
    Issuer,
    IssuerOpening,
    SpiffeId,
    TrustBundle,
)
from hive.security.identity.quota import IssueLimit, IssueQuota
from hive.security.identity.sealed_keys import MasterSealed
from hive.security.identity.service import IdentityService

__all__ = [
    "Denial",
    "DeniedKind",
    "DenyList",
    "Enrolment",
    "IdentityService",
    "IssueLimit",
    "IssueQuota",
    "Issuer",
    "IssuerOpening",
    "MasterSealed",
    "SpiffeId",
    "TrustBundle",
]
