"""A node hands the key of an image to a guest that proves itself over HTTP, and writes it down; to nobody else."""

import hashlib
import json
import subprocess
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hive.confidential import EvidenceDocument, release_binding
from hive.testing.node_process import HIVE, node_process
from tests.attacks.test_key_release import KEY, Guest
from tests.registration_rig import SoftTpm

TIMEOUT_S = 30


@pytest.fixture(scope="module")
def tpm():
    return SoftTpm()


@pytest.fixture(scope="module")
def spki(tpm):
    return tpm.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture(scope="module")
def node(tmp_path_factory, tpm, spki):
    folder = tmp_path_factory.mktemp("node")
    registers = ", ".join(f'{one} = "{value.hex()}"' for one, value in tpm.registers.items())
    file = folder / "images.toml"
    file.write_text(
        f'[[image]]\nkind = "tpm2"\nname = "payroll"\nkey = "{hashlib.sha256(spki).hexdigest()}"\n'
        f"registers = {{ {registers} }}\n"
    )
    with node_process(folder / "state", environment={"HIVE_MEASUREMENTS": str(file)}) as node:
        node.references = file
        yield node


def post(node, path, body):
    """Return status and answer of a request that shows no token."""
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    try:
        with urlopen(Request(f"{node.url}/attest/{path}", data=data), timeout=TIMEOUT_S) as answer:
            return answer.status, json.loads(answer.read())
    except HTTPError as error:
        return error.code, json.loads(error.read())


def ordered(node, tpm, spki, guest, *, qualifier=None):
    nonce = msgspec.json.decode(
        msgspec.json.encode(post(node, "challenge", {"image": "payroll"})[1]["nonce"]), type=bytes
    )
    binding = release_binding(nonce, guest.public, "payroll")
    quote, signature = tpm.quote(qualifier or binding[:48])
    evidence = EvidenceDocument(kind="tpm2", report=quote, signature=signature, key=spki)
    order = {"image": "payroll", "nonce": nonce, "public_key": guest.public, "evidence": evidence}
    return nonce, order


def test_a_guest_gets_its_key_once_and_the_ledger_tells(node, tpm, spki):
    guest = Guest()
    nonce, order = ordered(node, tpm, spki, guest)
    status, answer = post(node, "release", order)
    assert (status, answer["error"]["code"]) == (403, "E094")
    assert "no key" in answer["error"]["what"]
    words = ("secret", "set", "image-payroll", "--state", str(node.state))
    subprocess.run([*HIVE, *words], input=KEY.hex(), text=True, check=True, timeout=TIMEOUT_S)
    status, answer = post(node, "release", order)
    assert status == 200, answer
    sealed = msgspec.json.decode(msgspec.json.encode(answer["sealed"]), type=bytes)
    assert guest.opened(sealed, nonce) == KEY
    status, answer = post(node, "release", order)
    assert status == 403
    assert "answered already" in answer["error"]["why"]
    lines = [json.loads(line) for line in node.hive("audit", "tail", "--json").splitlines()]
    released = [json.loads(one["body"]) for one in lines if one["name"] == "image.key.released"]
    assert [one["image"] for one in released] == ["payroll"]
    assert KEY.hex() not in json.dumps(lines)


def test_a_quote_for_something_else_gets_nothing(node, tpm, spki):
    _, order = ordered(node, tpm, spki, Guest(), qualifier=b"another")
    status, answer = post(node, "release", order)
    assert (status, answer["error"]["code"]) == (403, "E094")
    assert "another challenge" in answer["error"]["why"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b"{" * 100_000,
        b'{"image":1}',
        b'{"image":"a","more":1}',
        b"1" * 600_000,
    ],
)
@pytest.mark.parametrize("path", ["challenge", "release"])
def test_what_is_no_request_is_refused_and_the_node_lives(node, path, body):
    status, answer = post(node, path, body)
    assert status in (400, 413), answer


def test_there_is_nothing_else_at_the_door(node):
    assert post(node, "keys", {})[0] == 404


def test_an_image_that_is_taken_out_of_the_file_gets_nothing_from_then_on(node, tpm, spki):
    _, order = ordered(node, tpm, spki, Guest())
    text = node.references.read_text()
    node.references.write_text(text.replace("payroll", "other"))
    status, answer = post(node, "release", order)
    node.references.write_text(text)
    assert status == 403
    assert "No reference" in answer["error"]["what"]
