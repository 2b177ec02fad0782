"""A real step-ca gives the node's intermediate over ACME; the SVIDs below it hold against its root.

CGO_ENABLED=0 GOBIN=~/.cache/hive-peers/bin go install github.com/smallstep/certificates/cmd/step-ca@v0.30.2
"""

import json
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import anyio
import pytest
from anyio import to_thread
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from spiffe import WorkloadApiClient
from tests.workload_rig import DOMAIN, Tables, opened_issuer, opened_service, served

from hive.core.clock import SystemClock
from hive.core.errors import IdentityError
from hive.core.ids import AgentId, SandboxId
from hive.security.identity.certificates import (
    CertificateSigner,
    new_key,
    self_signed,
    signed_authority,
)
from hive.testing.node_process import free_port

pytestmark = [pytest.mark.peers, pytest.mark.anyio]
PROGRAM = Path.home() / ".cache" / "hive-peers" / "bin" / "step-ca"
AUTHORITY = json.dumps(
    {
        "subject": {"organization": DOMAIN},
        "sans": [{"type": "uri", "value": f"spiffe://{DOMAIN}"}],
        "keyUsage": ["certSign", "crlSign"],
        "basicConstraints": {"isCA": True, "maxPathLen": 0},
    }
)


class StepCa:
    """The running server: the root that it answers for, and how to ask it."""

    def __init__(self, port: int, challenge: int, folder: Path) -> None:
        self.port, self.challenge, self.folder = port, challenge, folder

    def url(self, provisioner: str = "hive") -> str:
        directory = f"https://localhost:{self.port}/acme/{provisioner}/directory"
        return (
            f"acme:{directory}?name=localhost&listen=127.0.0.1:{self.challenge}"
            f"&roots={self.folder}/root.pem"
        )


@pytest.fixture(scope="module")
def step_ca(tmp_path_factory):
    program = str(PROGRAM) if PROGRAM.exists() else shutil.which("step-ca")
    if not program:
        pytest.skip("step-ca is missing; see the head of this file")
    folder = tmp_path_factory.mktemp("step-ca")
    port, challenge, now = free_port(), free_port(), SystemClock().now()
    root_key, key = new_key(), new_key()
    life = timedelta(days=30)
    root = self_signed("step.example", root_key, serial=1, now=now, life=life)
    above = signed_authority(
        "step.example", key.public_key(), CertificateSigner(root, root_key),
        serial=2, now=now, life=life, depth=1,
    )  # fmt: skip
    (folder / "root.pem").write_bytes(root.public_bytes(Encoding.PEM))
    (folder / "above.pem").write_bytes(above.public_bytes(Encoding.PEM))
    (folder / "above.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    claims = {"defaultTLSCertDuration": "240h", "maxTLSCertDuration": "240h"}
    provisioners = [
        {"type": "ACME", "name": "hive", "claims": claims,
         "options": {"x509": {"template": AUTHORITY}}},
        {"type": "ACME", "name": "plain", "claims": claims},
    ]  # fmt: skip
    config = {
        "root": f"{folder}/root.pem",
        "crt": f"{folder}/above.pem",
        "key": f"{folder}/above.key",
        "address": f"127.0.0.1:{port}",
        "dnsNames": ["localhost"],
        "logger": {"format": "text"},
        "db": {"type": "badgerv2", "dataSource": f"{folder}/db"},
        "authority": {"provisioners": provisioners},
    }
    (folder / "ca.json").write_text(json.dumps(config))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, str(folder / "ca.json"), f"--acme-http-port={challenge}", "--insecure"],
            stdout=log, stderr=log, env={"STEPPATH": str(folder), "PATH": "/usr/bin", "HOME": str(folder)},
        )  # fmt: skip
        try:
            yield StepCa(port, challenge, folder)
        finally:
            process.kill()
            process.wait()


async def until_up(step_ca):
    with anyio.fail_after(60):
        while True:
            try:
                async with await anyio.connect_tcp("127.0.0.1", step_ca.port):
                    return
            except OSError:
                await anyio.sleep(0.1)


async def test_svids_hold_against_the_root_of_step_ca(step_ca, tmp_path):
    await until_up(step_ca)
    tables = Tables()
    async with (
        opened_service(url=step_ca.url(), tables=tables, demanded=True) as service,
        served(service, tmp_path) as listener,
    ):

        def ask():
            with WorkloadApiClient(listener.url) as client:
                token = client.fetch_jwt_svid(audience={"a"})
                return client.fetch_x509_svid(), client.validate_jwt_svid(token.token, "a")

        svid, token = await to_thread.run_sync(ask)
        assert str(svid.spiffe_id) == str(token.spiffe_id) == f"spiffe://{DOMAIN}/agent/reader"
        chain = [one.public_bytes(Encoding.DER) for one in svid.cert_chain]
        assert len(chain) == 3
        assert await service.check_x509(chain)
        root = x509.load_pem_x509_certificate((step_ca.folder / "root.pem").read_bytes())
        assert (await service.bundle()).roots == (root.public_bytes(Encoding.DER),)
        before = service.issuer._mint.signer.key_id
        done = await service.rotate()
        assert done.generation == 2
        assert service.issuer._mint.signer.key_id != before
        # What the intermediate before signed is known to this node and still counts.
        assert await service.check_x509(chain)
    # A restart orders nothing: the intermediate is kept, sealed.
    async with opened_issuer(
        tables, url=step_ca.url().replace(str(step_ca.challenge), "1"), demanded=True
    ) as again:
        assert again._mint.signer.key_id not in ("", before)
    assert all(one["sealed_key"] for one in tables.authorities)


async def test_a_certificate_that_is_no_authority_is_refused(step_ca):
    await until_up(step_ca)
    with pytest.raises(IdentityError, match="no authority for this trust domain"):
        async with opened_issuer(Tables(), url=step_ca.url("plain"), demanded=True):
            pass


async def test_a_server_that_our_roots_do_not_vouch_for_gets_no_order(step_ca, tmp_path):
    await until_up(step_ca)
    other = self_signed(
        "x.example", new_key(), serial=1, now=SystemClock().now(), life=timedelta(days=1)
    )
    (tmp_path / "root.pem").write_bytes(other.public_bytes(Encoding.PEM))
    url = step_ca.url().replace(str(step_ca.folder), str(tmp_path))
    with pytest.raises(IdentityError, match="did not give a certificate"):
        async with opened_issuer(Tables(), url=url, demanded=True):
            pass


async def test_two_nodes_of_one_root_believe_each_other_but_know_only_their_own(step_ca):
    await until_up(step_ca)
    async with (
        opened_service(url=step_ca.url(), demanded=True) as one,
        opened_service(url=step_ca.url(), demanded=True) as two,
    ):
        enrolment = one.enrol(SandboxId("s"), AgentId("reader"))
        svid = await one.x509(enrolment)
        assert await two.check_x509(svid.chain)
        one.leave(enrolment)
        with pytest.raises(IdentityError, match="sandbox has ended"):
            await one.check_x509(svid.chain)
        await two.revoke(svid.spiffe_id.text)
        with pytest.raises(IdentityError, match="revoked"):
            await two.check_x509(svid.chain)
