"""Whose code is this? Signed packages, checked before anything is built of them.

A package (agent, tool server, policy, plugin) is signed as a DSSE envelope over an in-toto statement that names its
content by digest and says how it starts, what it asks for and what its locks pin. Who may sign is the operator's choice:
keys in a folder, a pinned Sigstore identity, or a cosign key for images. What was verified is the digest from which
the node then builds and starts, so nothing can change in between.
"""

from hive.security.supply_chain.drivers import VERIFIERS
from hive.security.supply_chain.packages import SignedPackage, check_package, sign_package
from hive.security.supply_chain.ports import Verified, Verifier
from hive.security.supply_chain.statement import Package, PackageClaim, SignedKind
from hive.security.supply_chain.trust import TrustFolder

__all__ = [
    "VERIFIERS",
    "Package",
    "PackageClaim",
    "SignedKind",
    "SignedPackage",
    "TrustFolder",
    "Verified",
    "Verifier",
    "check_package",
    "sign_package",
]
