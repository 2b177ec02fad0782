"""What the tests of foreign nodes share: two nodes' keys, a registrar on a database, and a TPM made of Python.

The soft TPM writes TPMS_ATTEST and TPMT_SIGNATURE as the standard lays them out, and would lie if it is told to.
"""

import hashlib
import os
import shutil
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hive.core.ids import NodeId
from hive.core.randomness import SystemRandomness
from hive.mesh import NodeKeys
from hive.security.identity.registration import Answering, Challenges, NodeRegistrar
from tests.workload_rig import MovedClock

HOST = "019a0000-0000-7000-8000-000000000001"
GUEST = "019a0000-0000-7000-8000-000000000002"
OTHER = "019a0000-0000-7000-8000-000000000003"
BITS = 10
PEERS = Path.home() / ".cache" / "hive-peers" / "tpm"


def keys_of(node=GUEST) -> NodeKeys:
    return NodeKeys(node=NodeId(node), signing=os.urandom(32), sealing=os.urandom(32))


def answering(keys: NodeKeys) -> Answering:
    public = keys.public
    return Answering(
        node=keys.node, signing=keys.signing, public=public.signing, sealing=public.sealing
    )


class Host:
    """A node that registers others."""

    def __init__(self, database, *, bits=BITS, machines="", master=bytes(32)):
        self.database, self.clock = database, MovedClock()
        self.challenges = Challenges(
            host=HOST, master_key=master, clock=self.clock, randomness=SystemRandomness()
        )
        self.registrar = self.opened(bits=bits, machines=machines)

    def opened(self, *, bits=BITS, machines=""):
        """Open a registrar anew, as after a restart."""
        return NodeRegistrar(
            database=self.database,
            challenges=self.challenges,
            clock=self.clock,
            host=HOST,
            bits=bits,
            machines=machines,
        )

    def challenge(self, node=GUEST) -> str:
        return self.registrar.challenge(node).text


def resigned(answer, keys: NodeKeys, **changes):
    """Return an answer with other parts, signed anew by these keys: what a liar with a key of his own can do."""
    from hive.security.identity.registration import answers
    from hive_a2a.crypto import sign

    made = msgspec.structs.replace(answer, **changes)
    signature = sign(keys.signing, made.signed_part, context=answers._CONTEXT)
    return msgspec.structs.replace(made, signature=signature)


class SoftTpm:
    """An attestation key and registers."""

    def __init__(self):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.registers = {number: hashlib.sha256(bytes([number])).digest() for number in (0, 7)}

    @property
    def pem(self) -> str:
        spki = PublicFormat.SubjectPublicKeyInfo
        return self.key.public_key().public_bytes(Encoding.PEM, spki).decode()

    def quote(self, qualifier: bytes, *, magic=0xFF544347, kind=0x8018, bank=0x000B, after=b""):
        """Return quote and signature over a qualifier."""
        bits = sum(1 << number for number in self.registers).to_bytes(3, "little")
        digest = hashlib.sha256(
            b"".join(self.registers[one] for one in sorted(self.registers))
        ).digest()
        said = b"".join(
            (
                magic.to_bytes(4, "big"), kind.to_bytes(2, "big"), sized(b"\x00\x0b" + bytes(32)),
                sized(qualifier), bytes(17), bytes(8), (1).to_bytes(4, "big"),
                bank.to_bytes(2, "big"), b"\x03", bits, sized(digest), after,
            )
        )  # fmt: skip
        return said, self.signature(said)

    def signature(self, said: bytes) -> bytes:
        numbers = decode_dss_signature(self.key.sign(said, ec.ECDSA(hashes.SHA256())))
        return b"\x00\x18\x00\x0b" + b"".join(sized(one.to_bytes(32, "big")) for one in numbers)


def sized(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def machines_file(folder: Path, **machines) -> str:
    """Write the operator's file of machines: for each its PEM and its registers."""
    told = []
    for name, (pem, registers) in machines.items():
        pcrs = ", ".join(f'{number} = "{value.hex()}"' for number, value in registers.items())
        told.append(f"[{name}]\nkey = '''{pem}'''\npcrs = {{ {pcrs} }}\n")
    path = folder / "machines.toml"
    path.write_text("\n".join(told))
    return str(path)


class RealTpm:
    """A TPM of swtpm, spoken to by tpm2-tools.

    apt-get download swtpm swtpm-libs libtpms0 tpm2-tools 'libtss2-*'
    for one in *.deb; do dpkg -x "$one" ~/.cache/hive-peers/tpm; done     # or install them
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        library = PEERS / "usr" / "lib" / "x86_64-linux-gnu"
        self._environment = {
            "PATH": f"{PEERS}/usr/bin:/usr/bin:/bin",
            "LD_LIBRARY_PATH": f"{library}:{library}/swtpm",
            "TPM2TOOLS_TCTI": f"swtpm:host=127.0.0.1,port={port}",
        }

    def do(self, name: str, *words: object) -> str:
        """Run one tool in the TPM's folder."""
        done = subprocess.run(
            [program(name), *map(str, words)], env=self._environment, cwd=self.folder,
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def made(self, name: str, kind: str) -> str:
        """Make an attestation key; return its public part in PEM."""
        scheme = {"ecc": "ecdsa", "rsa": "rsassa"}[kind]
        self.do("tpm2_createek", "-c", f"{name}.ek", "-G", kind, "-u", f"{name}.ekpub")
        self.do(
            "tpm2_createak", "-C", f"{name}.ek", "-c", f"{name}.ctx", "-G", kind, "-g", "sha256",
            "-s", scheme, "-u", f"{name}.pem", "-f", "pem", "-n", f"{name}.name",
        )  # fmt: skip
        self.do("tpm2_flushcontext", "-t")
        return (self.folder / f"{name}.pem").read_text()

    def registers(self, *numbers: int) -> dict[int, bytes]:
        chosen = ",".join(map(str, numbers))
        self.do("tpm2_pcrread", f"sha256:{chosen}", "-o", "pcrs.bin")
        data = (self.folder / "pcrs.bin").read_bytes()
        assert len(data) == 32 * len(numbers)
        return {number: data[32 * at :][:32] for at, number in enumerate(numbers)}

    def measure(self, number: int) -> None:
        """Measure something that was not there before."""
        self.do("tpm2_pcrextend", f"{number}:sha256={os.urandom(32).hex()}")

    def quote(self, name: str, qualifier: bytes, *numbers: int) -> tuple[bytes, bytes]:
        chosen = ",".join(map(str, numbers))
        self.do(
            "tpm2_quote", "-c", f"{name}.ctx", "-l", f"sha256:{chosen}", "-q", qualifier.hex(),
            "-m", "quote", "-s", "signature", "-g", "sha256",
        )  # fmt: skip
        self.do("tpm2_flushcontext", "-t")
        return (self.folder / "quote").read_bytes(), (self.folder / "signature").read_bytes()


def program(name: str) -> str:
    """Return where a tool lies, or skip and say how it is had."""
    found = PEERS / "usr" / "bin" / name
    there = str(found) if found.exists() else shutil.which(name)
    if not there:
        pytest.skip(f"{name} is missing; see RealTpm in {__name__}")
    return there


@contextmanager
def real_tpm(folder: Path):
    """Run a TPM of its own for the length of a test."""
    folder.mkdir()
    port = two_free_ports()
    tpm = RealTpm(folder, port)
    process = subprocess.Popen(
        [program("swtpm"), "socket", "--tpm2", "--tpmstate", f"dir={folder}",
         "--server", f"type=tcp,port={port},bindaddr=127.0.0.1",
         "--ctrl", f"type=tcp,port={port + 1},bindaddr=127.0.0.1",
         "--flags", "not-need-init,startup-clear"],
        env=tpm._environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield tpm
    finally:
        process.kill()
        process.wait()


def two_free_ports() -> int:
    """Return the first of two ports in a row that nobody uses: the tools want them so."""
    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            try:
                two.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
