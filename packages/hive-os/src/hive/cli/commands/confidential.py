"""`hive confidential`: verify evidence, ask this machine for some, seal images, render pods. No node is needed."""

import json
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from hive.cli.session import Options, fact, say, shared_options, show, show_json
from hive.core.errors import BadInputError, NotFoundError

if TYPE_CHECKING:
    from hive.confidential.references import Reference

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_NEW_FILE = click.Path(dir_okay=False, path_type=Path)
NOTHING_BOUND: Final = "00" * 64


@click.group(
    help="Verify what machines prove of themselves; seal images; render confidential pods."
)
def confidential() -> None:
    """Hold the verbs about evidence and sealed images."""


@confidential.command("verify", help="Judge evidence (a JSON file) by a file of references.")
@click.argument("evidence", type=_FILE)
@click.option(
    "--references", "file", type=_FILE, required=True, help="Which measurement is which image."
)
@click.option("--image", required=True, help="Which image it is said to be.")
@click.option(
    "--binding",
    default=NOTHING_BOUND,
    metavar="HEX",
    help="The 64 bytes it has to carry (default: zeros).",
)
@click.option(
    "--at", type=click.DateTime(["%Y-%m-%dT%H:%M:%SZ"]), help="Judge it as of this time (UTC)."
)
@shared_options
def verify(
    *, options: Options, evidence: Path, file: Path, image: str, binding: str, at: datetime | None
) -> int:
    """Judge evidence."""
    from datetime import UTC

    from hive.confidential import read_references
    from hive.confidential.drivers import VERIFIERS
    from hive.confidential.ports import read_evidence
    from hive.core.clock import SystemClock

    said = read_evidence(evidence.read_bytes())
    reference: Reference = read_references(file).of(image, said.kind)
    now = at.replace(tzinfo=UTC) if at else SystemClock().now()
    verifier = VERIFIERS.load(said.kind)()
    judged = verifier.verify(said, reference=reference, binding=_binding(binding), now=now)
    found = {
        "kind": judged.kind,
        "image": judged.image,
        "measurement": judged.measurement.hex(),
        "binding": judged.binding.hex(),
        **judged.facts,
    }
    if options.json:
        show_json(found)
        return 0
    show(f"It holds: {judged.image} on {judged.kind}.")
    for name, value in found.items():
        if name not in ("kind", "image"):
            show(fact(name, value if isinstance(value, str) else json.dumps(value)))
    return 0


@confidential.command("evidence", help="Ask this machine for evidence; print it as JSON.")
@click.option(
    "--binding",
    default=NOTHING_BOUND,
    metavar="HEX",
    help="The 64 bytes it shall carry (default: zeros).",
)
@shared_options
def evidence(*, options: Options, binding: str) -> int:
    """Ask this machine."""
    del options
    import msgspec

    from hive.confidential.drivers import SOURCES

    produced = SOURCES.load("tsm")().produce(_binding(binding))
    show(msgspec.json.encode(produced).decode())
    return 0


@confidential.command("seal", help="Seal an image with a key; a key that is missing is made.")
@click.argument("source", type=_FILE)
@click.argument("sealed", type=_NEW_FILE)
@click.option("--image", required=True, help="The image's name, as in the file of references.")
@click.option("--key-file", type=_NEW_FILE, required=True, help="The key, in hex.")
@shared_options
def seal(*, options: Options, source: Path, sealed: Path, image: str, key_file: Path) -> int:
    """Seal an image."""
    from hive.confidential import sealing
    from hive.core.randomness import SystemRandomness

    made = not key_file.exists()
    if made:
        _write_key(key_file, SystemRandomness().token(sealing.KEY_BYTES))
    key = _key(key_file)
    with source.open("rb") as file:
        size = _written(sealed, sealing.seal(file, image, key, SystemRandomness()))
    _told(options, {"image": image, "sealed": str(sealed), "size_bytes": size, "key_made": made})
    say(options, f"Next:  hive secret set image-{image} < {key_file}     then delete {key_file}")
    return 0


@confidential.command("unseal", help="Open a sealed image; a file appears only if all of it holds.")
@click.argument("sealed", type=_FILE)
@click.argument("target", type=_NEW_FILE)
@click.option("--image", required=True, help="The image's name.")
@click.option("--key-file", type=_FILE, required=True, help="The key, in hex.")
@shared_options
def unseal(*, options: Options, sealed: Path, target: Path, image: str, key_file: Path) -> int:
    """Open a sealed image."""
    from hive.confidential import sealing

    with sealed.open("rb") as file:
        size = _written(target, sealing.unseal(file, _key(key_file), image=image))
    _told(options, {"image": image, "opened": str(target), "size_bytes": size})
    return 0


@confidential.command(
    "manifest", help="Print a pod for Kata or Confidential Containers (JSON, for kubectl)."
)
@click.argument("name")
@click.option("--image", required=True, metavar="NAME@sha256:DIGEST", help="The container image.")
@click.option(
    "--runtime-class", required=True, help="For example kata-qemu-snp, kata-qemu-tdx, kata-remote."
)
@click.option("--release-url", default="", help="Where keys are released: put into the init data.")
@click.option("--namespace", default="default", help="The namespace.")
@click.option(
    "--policy", type=_FILE, help="A policy for the guest's agent (default: no exec, no streams)."
)
@click.option(
    "--annotation",
    default="",
    help="The annotation of the init data, where a release names it otherwise.",
)
@shared_options
def manifest(
    *,
    options: Options,
    name: str,
    image: str,
    runtime_class: str,
    release_url: str,
    namespace: str,
    policy: Path | None,
    annotation: str,
) -> int:
    """Print a pod."""
    from hive.confidential.manifests import (
        INITDATA_ANNOTATION,
        NO_EXEC,
        PodOrder,
        confidential_pod,
        init_data,
    )

    rules = policy.read_text() if policy else NO_EXEC
    pod = confidential_pod(
        PodOrder(
            name=name,
            image=image,
            runtime_class=runtime_class,
            release_url=release_url,
            namespace=namespace,
            policy=rules,
            annotation=annotation or INITDATA_ANNOTATION,
        )
    )
    show(json.dumps(pod, indent=None if options.json else 2))
    click.echo(f"init data  sha384 {init_data(release_url, rules).digest}", err=True)
    return 0


def _binding(text: str) -> bytes:
    from hive.confidential.ports import BINDING_BYTES

    try:
        data = bytes.fromhex(text)
    except ValueError:
        data = b""
    if len(data) != BINDING_BYTES:
        raise BadInputError(f"A binding is {BINDING_BYTES} bytes, in hex.")
    return data


def _key(path: Path) -> bytes:
    try:
        return bytes.fromhex(path.read_text().strip())
    except (OSError, ValueError) as error:
        raise BadInputError(
            f"{path} holds no key.", why="A key is 64 hexadecimal digits."
        ) from error


def _write_key(path: Path, key: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(key.hex() + "\n")


def _written(path: Path, pieces: Iterator[bytes]) -> int:
    from hive.confidential.sealing import written_whole

    if path.exists():
        raise BadInputError(f"{path} is there already.", fix="Name another file, or remove it.")
    if not path.parent.is_dir():
        raise NotFoundError(f"There is no folder {path.parent}.")
    return written_whole(path, pieces)


def _told(options: Options, found: dict[str, object]) -> None:
    if options.json:
        show_json(found)
        return
    for name, value in found.items():
        show(fact(name, str(value)))
