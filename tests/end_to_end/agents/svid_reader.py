"""An agent that asks the SPIFFE Workload API who it is, with the public client, and tells."""

import json
import os

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from spiffe import WorkloadApiClient


def answer(text: str) -> str:
    """Tell the identity, or what the API said instead; `text` is an audience."""
    try:
        with WorkloadApiClient() as client:
            x509 = client.fetch_x509_svid()
            token = client.fetch_jwt_svid(audience={text})
            checked = client.validate_jwt_svid(token.token, text)
    except Exception as error:  # noqa: BLE001 - whatever went wrong is the answer
        return json.dumps({"refused": f"{type(error).__name__}: {error}"})
    return json.dumps(
        {
            "socket": os.environ["SPIFFE_ENDPOINT_SOCKET"],
            "id": str(x509.spiffe_id),
            "checked": str(checked.spiffe_id),
            "token": token.token,
            "chain": [one.public_bytes(Encoding.DER).hex() for one in x509.cert_chain],
        }
    )


def judge(text: str) -> str:
    """Validate another agent's token for the audience `billing`; `certificate` gives one's own SVID away."""
    try:
        with WorkloadApiClient() as client:
            if text == "certificate":
                context = client.fetch_x509_context()
                svid = context.default_svid
                bundle = context.x509_bundle_set.get_bundle_for_trust_domain(
                    svid.spiffe_id.trust_domain
                )
                key = svid.private_key.private_bytes(
                    Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
                )
                chain = b"".join(one.public_bytes(Encoding.PEM) for one in svid.cert_chain)
                roots = b"".join(one.public_bytes(Encoding.PEM) for one in bundle.x509_authorities)
                return json.dumps([chain.decode(), key.decode(), roots.decode()])
            return json.dumps({"id": str(client.validate_jwt_svid(text, "billing").spiffe_id)})
    except Exception as error:  # noqa: BLE001 - whatever went wrong is the answer
        return json.dumps({"refused": f"{type(error).__name__}: {error}"})
