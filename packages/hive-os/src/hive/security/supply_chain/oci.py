"""Finding the signatures of an image in an OCI layout or a registry; every blob is compared with its digest.

cosign keeps them beside the image, as a manifest with the tag `sha256-DIGEST.sig`: one layer for each signature, the
signature itself in an annotation. A registry is asked anonymously.
"""

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final, cast

from hive.core.errors import NotFoundError, SupplyError
from hive.core.ids import printable
from hive.core.json import Json, encode
from hive.security.supply_chain.strict_json import decode_strict

BLOB_MAX_BYTES: Final = 4 << 20
SIGNATURE_LAYERS_MAX: Final = 64
_ANNOTATION: Final = "dev.cosignproject.cosign/signature"
_LAYER: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_REMOTE: Final = re.compile(
    r"(?P<host>[A-Za-z0-9.-]+(?::\d{1,5})?)/(?P<name>[a-z0-9][a-z0-9._/-]*)@(?P<digest>sha256:[0-9a-f]{64})"
)
ReadBlob = Callable[[str], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedImage:
    """An image by the digest of its manifest, and what lies beside it, for `cosign:` to check."""

    digest: str
    bundle: bytes


def image_in_layout(layout: Path, digest: str = "") -> SignedImage:
    """Read the signatures of an image in an OCI layout; without a digest, of its only image.

    Raises:
        SupplyError: the layout cannot be read, or a blob is not what its digest says.
        NotFoundError: it holds no such image.

    """
    index = decode_strict(_read(layout / "index.json"), what="The layout's index")
    entries = cast("list[Json]", index.get("manifests", [])) if isinstance(index, dict) else []
    images: list[str] = []
    signatures: list[str] = []
    for one in entries:
        match one:
            case {"digest": str(found), "annotations": {"kind": str(kind)}}:
                (images if kind.endswith(("/image", "/imageIndex")) else signatures).append(found)
            case {
                "digest": str(found),
                "annotations": {"org.opencontainers.image.ref.name": str(name)},
            }:
                (signatures if name.endswith(".sig") else images).append(found)
            case {"digest": str(found)}:
                images.append(found)
    if digest:
        images = [one for one in images if one == digest]
    if len(images) != 1:
        raise NotFoundError(
            f"{layout} holds {len(images)} such images, not one.", fix="Name its digest."
        )

    def read(found: str) -> bytes:
        return _read(layout / "blobs" / found.replace(":", "/", 1))

    layers = [layer for one in signatures for layer in _layers(_blob(one, read), read)]
    return SignedImage(digest=images[0].removeprefix("sha256:"), bundle=encode(layers))


def image_in_registry(reference: str, fetch: Callable[[str], bytes]) -> SignedImage:
    """Read the signatures of `HOST/NAME@sha256:...`; `fetch` gets a path below `/v2/` of that host.

    Raises:
        SupplyError: it is no such reference, or a blob is not what its digest says.

    """
    found = _REMOTE.fullmatch(reference)
    if found is None:
        raise SupplyError(
            f"{printable(reference)} names no image by its digest.",
            why="A tag can be moved at any time, a digest cannot.",
            fix="Write HOST/NAME@sha256:DIGEST.",
        )
    tag = found["digest"].replace(":", "-", 1) + ".sig"
    manifest = fetch(f"{found['name']}/manifests/{tag}")
    layers = _layers(manifest, lambda one: fetch(f"{found['name']}/blobs/{one}"))
    return SignedImage(digest=found["digest"].removeprefix("sha256:"), bundle=encode(layers))


def _layers(manifest: bytes, read: ReadBlob) -> list[dict[str, str]]:
    document = decode_strict(manifest, what="A signature's manifest")
    layers = cast("list[Json]", document.get("layers", [])) if isinstance(document, dict) else []
    found = []
    for one in layers[:SIGNATURE_LAYERS_MAX]:
        match one:
            case {"mediaType": str(kind), "digest": str(digest), "annotations": dict(said)} if (
                kind == _LAYER
            ):
                payload = _blob(digest, read)
                signature = said.get(_ANNOTATION)
                if isinstance(signature, str):
                    found.append(
                        {"payload": base64.b64encode(payload).decode(), "signature": signature}
                    )
    return found


def _blob(digest: str, read: ReadBlob) -> bytes:
    data = read(digest) if _DIGEST.fullmatch(digest) else b""
    if f"sha256:{sha256(data).hexdigest()}" != digest:
        raise SupplyError(
            "A blob beside the image is not what its digest says.",
            why=printable(digest),
            fix="Copy it anew.",
        )
    return data


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(BLOB_MAX_BYTES + 1)
    except OSError as error:
        raise SupplyError(f"{path} cannot be read.", why=error.strerror or "") from error
    if len(data) > BLOB_MAX_BYTES:
        raise SupplyError(f"{path} is too large.", why=f"At most {BLOB_MAX_BYTES} bytes are read.")
    return data
