"""The messages of SPIRE's Delegated Identity API that are spoken here, by their numbers on the wire."""

from typing import Final

from hive.security.identity.workload.messages import classes_of

PACKAGE: Final = "spire.api.agent.delegatedidentity.v1"
SPIRE: Final = classes_of(
    {
        "Selector": (("type", 1, "string"), ("value", 2, "string")),
        "SPIFFEID": (("trust_domain", 1, "string"), ("path", 2, "string")),
        "X509SVID": (("cert_chain", 1, "*bytes"), ("id", 2, "SPIFFEID")),
        "X509SVIDWithKey": (("x509_svid", 1, "X509SVID"), ("x509_svid_key", 2, "bytes")),
        "JWTSVID": (("token", 1, "string"), ("id", 2, "SPIFFEID")),
        "SubscribeToX509SVIDsRequest": (("selectors", 1, "*Selector"),),
        "SubscribeToX509SVIDsResponse": (("x509_svids", 1, "*X509SVIDWithKey"),),
        "FetchJWTSVIDsRequest": (("audience", 1, "*string"), ("selectors", 2, "*Selector")),
        "FetchJWTSVIDsResponse": (("svids", 1, "*JWTSVID"),),
    },
    package=PACKAGE,
)
