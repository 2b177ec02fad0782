"""The same agent behind `SecureA2AServer`, with as many of its stages as asked for.

    python secure_echo_server.py '{"port": 8000, "reply": "task", "chain": "full", "folder": "/tmp/x", ...}'

`chain`: `tls` (TLS, limits, who calls), `noise` (Noise, limits, who calls), `full` (everything; warrants of
`root` are required, the skill has schemas, the record is on disk and synced).
"""

import json
import logging
import ssl
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

if __package__ is None:  # run as a script
    sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.official_echo_server import EXECUTORS, SKILL, echo_card
from hive_a2a.identity.api_key import StaticBearer
from hive_a2a.policy import Policy, RateLimits
from hive_a2a.ports import Stage
from hive_a2a.server import SecureA2AServer
from hive_a2a.stages.schema import SkillSchema
from hive_a2a.stages.tenuo_warrants import TenuoWarrants

TOKEN: Final = "a-word-that-only-the-benchmark-knows"  # noqa: S105 - it opens nothing but this server
DATA: Final = {"place": "Basel", "days": 3}
SHAPE: Final = {
    "type": "object",
    "properties": {"place": {"type": "string", "maxLength": 100}, "days": {"type": "integer"}},
    "required": ["place"],
    "additionalProperties": False,
}
MANY: Final = RateLimits(per_s=1e9, burst=10**9)
CHAIN_STAGES: Final = (
    Stage.EXTENSIONS,
    Stage.RATE,
    Stage.BREAKER,
    Stage.WARRANT,
    Stage.SCHEMA,
    Stage.GUARD,
    Stage.AUDIT,
)


@dataclass(frozen=True, kw_only=True)
class SecureEcho:
    """What is served; `root` is the public key (hex) that warrants come from."""

    port: int
    chain: str
    folder: str
    reply: str = "task"
    root: str = ""
    certificate: str = ""
    key: str = ""

    def server(self) -> SecureA2AServer:
        """Return the server."""
        scheme = "https" if self.certificate else "http"
        card = echo_card(f"{scheme}://127.0.0.1:{self.port}/")
        given: dict[str, Any] = {"folder": self.folder}
        policy = Policy(rate=MANY)
        if self.chain == "full":
            policy = Policy(rate=MANY, warrants_required=True)
            given["warrants"] = TenuoWarrants([bytes.fromhex(self.root)])
            given["schemas"] = {SKILL: SkillSchema(input=SHAPE, output=SHAPE)}
        else:
            policy = policy.without(*CHAIN_STAGES)
        if self.chain == "tls":
            policy = policy.without(Stage.NOISE)
            known = {"bench": sha256(TOKEN.encode()).hexdigest()}
            given["authenticators"] = [StaticBearer(known)]
        return SecureA2AServer(card, EXECUTORS[self.reply](), policy=policy, **given)

    def tls(self) -> ssl.SSLContext | None:
        """Return the TLS to serve with."""
        if not self.certificate:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(self.certificate, self.key)
        return context


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    served = SecureEcho(**json.loads(sys.argv[1]))
    served.server().run(port=served.port, tls=served.tls())
