"""Real cosign signs images with a key, real Sigstore bundles are verified without a network; Hive is only the verifier.

Needs `go`; installed by `go install` into the cache: cosign v2.6.2, and crane v0.20.7, whose registry holds the images. The bundles
and the trust root are the test data of the Go module sigstore-go v1.1.4, fetched by `go mod download`.
"""

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from hive.cli.entry import run_command
from hive.core.call import Refused
from hive.core.errors import ConfigError, MissingExtraError, SupplyError
from hive.security.supply_chain.drivers import VERIFIERS
from hive.security.supply_chain.drivers.cosign import CosignVerifier
from hive.security.supply_chain.oci import image_in_layout, image_in_registry
from hive.security.supply_chain.ports import Verified
from hive.security.supply_chain.registry import registry_reader

pytestmark = [pytest.mark.anyio, pytest.mark.peers]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hive-peers"  # noqa: TID251
PROGRAMS = {
    "cosign": "github.com/sigstore/cosign/v2/cmd/cosign@v2.6.2",
    "crane": "github.com/google/go-containerregistry/cmd/crane@v0.20.7",
}
INSTALL_TIMEOUT_S = 900
ISSUER, SUBJECT = "http://oidc.local:8080", "\x0c\x0efoo!oidc.local"


def go(*words: str, **variables: str) -> str:
    compiler = shutil.which("go")
    if compiler is None:
        pytest.skip("go is not installed")
    done = subprocess.run(
        [compiler, *words],
        env={**os.environ, **variables},  # noqa: TID251
        capture_output=True,
        text=True,
        timeout=INSTALL_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"go {words[0]} {words[-1]} does not work here: {done.stderr.strip()[-200:]}")
    return done.stdout


def program(name: str) -> str:
    path = CACHE / "bin" / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        go("install", PROGRAMS[name], GOBIN=str(path.parent), GOFLAGS="-p=2")
    return str(path)


def run(*argv: str, folder: Path) -> str:
    environment = {**os.environ, "COSIGN_PASSWORD": "x", "HOME": str(folder)}  # noqa: TID251
    done = subprocess.run(
        argv, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def registry() -> Iterator[str]:
    with subprocess.Popen(
        [program("crane"), "registry", "serve", "--address", "127.0.0.1:0"],
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stderr is not None
        line = server.stderr.readline()
        yield f"127.0.0.1:{line.split()[-1]}"
        server.kill()


class Images:
    """Two images in a registry; the first is signed with a key."""

    def __init__(self, registry: str, folder: Path) -> None:
        self.folder = folder
        self.cosign, self.crane = program("cosign"), program("crane")
        run(self.cosign, "generate-key-pair", folder=folder)
        self.signed, self.other = (self._push(registry, name) for name in ("signed", "other"))
        words = ("--yes", "--key", "cosign.key", "--tlog-upload=false", "--allow-http-registry")
        run(self.cosign, "sign", *words, self.signed, folder=folder)

    def _push(self, registry: str, name: str) -> str:
        (self.folder / name).write_text(name)
        run("tar", "cf", f"{name}.tar", name, folder=self.folder)
        tag = f"{registry}/hive/{name}:1"
        words = ("--insecure", "--oci-empty-base", "-f", f"{name}.tar", "-t", tag)
        run(self.crane, "append", *words, folder=self.folder)
        return f"{registry}/hive/{name}@{run(self.crane, 'digest', '--insecure', tag, folder=self.folder)}"

    @property
    def key(self) -> str:
        return str(self.folder / "cosign.pub")

    def layout(self) -> Path:
        run(self.cosign, "save", "--dir", "layout", self.signed, folder=self.folder)
        return self.folder / "layout"


@pytest.fixture
def images(registry, tmp_path) -> Images:
    return Images(registry, tmp_path)


async def test_an_image_that_cosign_signed_is_verified_from_a_registry_and_a_layout(
    images, tmp_path
):
    verifier = CosignVerifier(f"cosign:{images.key}", state=tmp_path)
    reader = registry_reader(images.signed.partition("/")[0])
    digest = images.signed.rpartition(":")[2]
    for image in (image_in_registry(images.signed, reader), image_in_layout(images.layout())):
        said = await verifier.verify(image.bundle, image.digest)
        assert isinstance(said, Verified)
        assert (said.digest, said.signer) == (digest, "cosign")
    with pytest.raises(SupplyError, match="404"):
        image_in_registry(images.other, reader)
    with pytest.raises(SupplyError, match="by its digest"):
        image_in_registry(images.signed.replace("@sha256", ":1"), reader)


async def test_the_signature_of_one_image_is_not_one_of_another(images, tmp_path):
    verifier = CosignVerifier(f"cosign:{images.key}", state=tmp_path)
    image = image_in_registry(images.signed, registry_reader(images.signed.partition("/")[0]))
    assert isinstance(await verifier.verify(image.bundle, images.other.rpartition(":")[2]), Refused)


async def test_another_key_and_a_changed_blob_are_refused(images, tmp_path):
    other = tmp_path / "there"
    other.mkdir()
    run(images.cosign, "generate-key-pair", folder=other)
    layout = images.layout()
    image = image_in_layout(layout)
    stranger = CosignVerifier(f"cosign:{other}/cosign.pub", state=tmp_path)
    assert isinstance(await stranger.verify(image.bundle, image.digest), Refused)
    pairs = json.loads(image.bundle)
    payload = base64.b64decode(pairs[0]["payload"]).replace(image.digest.encode(), b"0" * 64)
    pairs[0]["payload"] = base64.b64encode(payload).decode()
    verifier = CosignVerifier(f"cosign:{images.key}", state=tmp_path)
    assert isinstance(await verifier.verify(json.dumps(pairs).encode(), "0" * 64), Refused)
    for blob in (layout / "blobs" / "sha256").iterdir():
        if b"cosign container image signature" in blob.read_bytes():
            blob.chmod(0o644)
            blob.write_bytes(blob.read_bytes() + b" ")
    with pytest.raises(SupplyError, match="not what its digest says"):
        image_in_layout(layout)


def test_the_command_checks_an_image(images, tmp_path, capsys):
    state = ("--state", str(tmp_path / "state"))
    assert run_command([*state, "trust", "image", images.signed, "--key", images.key]) == 0
    assert "is signed by cosign" in capsys.readouterr().out
    assert run_command([*state, "trust", "image", str(images.layout())]) == 1
    assert "not signed" in capsys.readouterr().out
    assert run_command([*state, "trust", "add", images.key]) == 0
    assert run_command([*state, "trust", "image", str(images.layout())]) == 0


@pytest.fixture(scope="module")
def bundles(tmp_path_factory) -> Path:
    """Give the test data; the root names its authorities, as this library wants it."""
    told = go("mod", "download", "-json", "github.com/sigstore/sigstore-go@v1.1.4")
    data = Path(json.loads(told)["Dir"]) / "pkg" / "testing" / "data"
    folder = tmp_path_factory.mktemp("bundles")
    root = json.loads((data / "trusted-roots" / "scaffolding.json").read_text())
    for one in (*root["certificateAuthorities"], *root.get("timestampAuthorities", ())):
        one["subject"].setdefault("commonName", "")
    (folder / "root.json").write_text(json.dumps(root))
    shutil.copy(data / "bundles" / "othername.sigstore.json", folder / "bundle.json")
    return folder


def keyless(issuer: str, subject: str, root: str = "production"):
    try:
        url = f"sigstore:?issuer={quote(issuer, safe='')}&subject={quote(subject, safe='')}&root={quote(root)}"
        return VERIFIERS.load(url)(url, state=Path())
    except MissingExtraError:
        pytest.skip("the package sigstore is not installed: pip install 'hive-os[sigstore]'")


def signed_digest(folder: Path) -> str:
    said = json.loads((folder / "bundle.json").read_bytes())["messageSignature"]["messageDigest"]
    return base64.b64decode(said["digest"]).hex()


@pytest.mark.filterwarnings("ignore::UserWarning:sigstore")
@pytest.mark.parametrize(
    ("issuer", "subject", "root", "digest", "good"),
    [
        (ISSUER, SUBJECT, "own", "own", True),
        (ISSUER, SUBJECT, "own", "0" * 64, False),
        (ISSUER, "somebody@else.org", "own", "own", False),
        ("https://accounts.else.org", SUBJECT, "own", "own", False),
        (ISSUER, SUBJECT, "production", "own", False),
        (ISSUER, SUBJECT, "staging", "own", False),
    ],
)
async def test_a_keyless_bundle_counts_for_its_artifact_and_its_pinned_identity_alone(
    bundles, issuer, subject, root, digest, good
):
    verifier = keyless(issuer, subject, str(bundles / "root.json") if root == "own" else root)
    asked = signed_digest(bundles) if digest == "own" else digest
    said = await verifier.verify((bundles / "bundle.json").read_bytes(), asked)
    assert isinstance(said, Verified if good else Refused)


@pytest.mark.filterwarnings("ignore::UserWarning:sigstore")
async def test_a_keyless_bundle_without_its_log_entry_is_refused(bundles):
    document = json.loads((bundles / "bundle.json").read_bytes())
    document["verificationMaterial"]["tlogEntries"] = []
    verifier = keyless(ISSUER, SUBJECT, str(bundles / "root.json"))
    said = await verifier.verify(json.dumps(document).encode(), signed_digest(bundles))
    assert isinstance(said, Refused)


def test_a_keyless_bundle_is_verified_where_there_is_no_network(bundles, tmp_path):
    program = shutil.which("unshare")
    if program is None:
        pytest.skip("unshare is not installed")
    keyless(ISSUER, SUBJECT)
    script = (
        "import sys, anyio, pathlib\n"
        "from hive.security.supply_chain.drivers.sigstore import SigstoreVerifier\n"
        "verifier = SigstoreVerifier(sys.argv[1], state=pathlib.Path())\n"
        "bundle = pathlib.Path(sys.argv[2]).read_bytes()\n"
        "print(type(anyio.run(verifier.verify, bundle, sys.argv[3])).__name__)\n"
    )
    url = f"sigstore:?issuer={quote(ISSUER, safe='')}&subject={quote(SUBJECT)}&root={bundles}/root.json"
    words = (sys.executable, "-W", "ignore", "-c", script, url, str(bundles / "bundle.json"))
    argv = [program, "-rn", *words, signed_digest(bundles)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    if "unshare" in done.stderr:
        pytest.skip(f"no network namespace can be made here: {done.stderr.strip()}")
    assert done.stdout.strip() == "Verified", done.stderr


@pytest.mark.parametrize(
    "query", ["", "?issuer=https://a", "?subject=b", "?issuer=a&subject=b&x=1"]
)
def test_an_identity_that_is_half_pinned_is_no_setting(query):
    keyless(ISSUER, SUBJECT)
    url = f"sigstore:{query}"
    with pytest.raises(ConfigError):
        VERIFIERS.load(url)(url, state=Path())
