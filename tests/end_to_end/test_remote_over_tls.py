"""A remote agent over TLS: what its certificate does not prove is not spoken to."""

import datetime
import ipaddress
import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hive.core.task import TaskState
from hive.testing.node_process import free_port, node_process

SERVER = """
import http.server, json, ssl, sys
port, pair = int(sys.argv[1]), sys.argv[2]
url = f"https://127.0.0.1:{port}/rpc"
card = {"name": "far", "capabilities": {}, "supportedInterfaces": [
    {"url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}]}

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self): self.answer(card)
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if "model" in asked:
            said = {"message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}
            self.answer({"id": "1", "model": "m", "choices": [said]})
            return
        message = {"messageId": "m", "role": "ROLE_AGENT", "parts": [{"text": "over TLS"}]}
        self.answer({"jsonrpc": "2.0", "id": asked["id"], "result": {"message": message}})
    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(pair)
server.socket = context.wrap_socket(server.socket, server_side=True)
print("ready", flush=True)
server.serve_forever()
"""


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate of one's own for 127.0.0.1; return it, and it with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "far")])
    now = datetime.datetime.now(datetime.UTC)  # noqa: TID251, the TLS library reads the real clock
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    roots, pair = folder / "roots.pem", folder / "pair.pem"
    roots.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    pair.write_bytes(private + roots.read_bytes())
    return roots, pair


@contextmanager
def tls_server(pair: Path):
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(port), str(pair)], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield f"https://127.0.0.1:{port}"
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("trusted", [True, False])
def test_only_a_certificate_that_the_operator_trusts_is_believed(tmp_path, trusted):
    roots, pair = make_certificate(tmp_path)
    environment = {"HIVE_SSL_CERT_FILE": str(roots)} if trusted else {}
    with tls_server(pair) as url, node_process(tmp_path / "state", environment) as node:
        node.hive("run", url, "--name", "far", "--yes")
        task = node.send("far", "hello")
    if trusted:
        assert (task.state, task.answer) == (TaskState.COMPLETED, "over TLS")
    else:
        assert task.state is TaskState.FAILED
        assert "CERTIFICATE_VERIFY_FAILED" in task.said


@pytest.mark.parametrize("trusted", [True, False])
def test_a_model_provider_is_believed_by_the_authorities_that_the_operator_trusts(
    tmp_path, trusted
):
    folder = tmp_path / "own authorities"
    folder.mkdir()
    roots, pair = make_certificate(folder)
    with tls_server(pair) as url:
        environment = {"HIVE_MODELS": f"openai:{url}/v1?wires=chat"}
        if trusted:
            environment["SSL_CERT_FILE"] = str(roots)
        with node_process(tmp_path / "state", environment) as node:
            node.hive("llm", "add", "far", f"openai:{url}/v1")
            for name in ("default", "far"):
                if trusted:
                    assert json.loads(node.hive("llm", "test", name, "--json"))["ok"]
                else:
                    with pytest.raises(RuntimeError, match="cannot be reached"):
                        node.hive("llm", "test", name, "--json")
            assert str(roots) not in node.hive("llm", "list", "--json")
