"""Pods for Kata Containers and Confidential Containers (CoCo), with the init data that the hardware measures.

The digest of the init data is part of what such a guest attests, so what stands in it (where its keys come from,
what the agent inside may be asked) cannot be changed by the cluster without being noticed.
"""

import base64
import gzip
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from hive.core.errors import BadInputError
from hive.core.grant import Limits
from hive.core.json import Json

INITDATA_ANNOTATION: Final = "io.katacontainers.config.hypervisor.cc_init_data"
"""Kata 3.x; older vendor releases read `io.katacontainers.config.runtime.cc_init_data`."""
ALGORITHM: Final = "sha384"
INITDATA_VERSION: Final = "0.1.0"
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_DIGEST: Final = re.compile(r"[^\s@]{1,400}@sha256:[0-9a-f]{64}")
NO_EXEC: Final = """package agent_policy

default AllowRequestsFailingPolicy := false
default CreateContainerRequest := true
default CreateSandboxRequest := true
default DestroySandboxRequest := true
default ExecProcessRequest := false
default GetOOMEventRequest := true
default GuestDetailsRequest := true
default PullImageRequest := true
default ReadStreamRequest := false
default RemoveContainerRequest := true
default SignalProcessRequest := true
default StartContainerRequest := true
default StatsContainerRequest := true
default UpdateInterfaceRequest := true
default UpdateRoutesRequest := true
default WaitProcessRequest := true
default WriteStreamRequest := false
"""
"""A policy for the agent in the guest: the host may start and stop, and neither look in nor run anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodOrder:
    """What a pod is made of. `release_url` is the node that hands out keys; `image` names a digest."""

    name: str
    image: str
    runtime_class: str
    release_url: str = ""
    namespace: str = "default"
    policy: str = NO_EXEC
    annotation: str = INITDATA_ANNOTATION
    environment: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class InitData:
    """Init data as CoCo defines it: a TOML document, its annotation, and the digest that is measured."""

    text: str

    @property
    def digest(self) -> str:
        """Return SHA-384 of the document, in hex: what the guest attests (SEV-SNP: HOSTDATA, its first 32 bytes)."""
        return hashlib.sha384(self.text.encode()).hexdigest()

    @property
    def annotation(self) -> str:
        """Return it as it stands in the pod: base64 of gzip; the same bytes each time."""
        return base64.b64encode(gzip.compress(self.text.encode(), mtime=0)).decode()


def init_data(release_url: str, policy: str) -> InitData:
    """Return init data that names where keys are released and what the guest's agent allows."""
    files = {"policy.rego": policy}
    if release_url:
        files["aa.toml"] = f'[token_configs.kbs]\nurl = "{_url(release_url)}"\n'
        files["cdh.toml"] = f'[kbc]\nname = "cc_kbc"\nurl = "{_url(release_url)}"\n'
    lines = [f'algorithm = "{ALGORITHM}"', f'version = "{INITDATA_VERSION}"', "", "[data]"]
    lines += [f"{_toml(name)} = {_toml(files[name])}" for name in sorted(files)]
    return InitData(text="\n".join(lines) + "\n")


def confidential_pod(order: PodOrder) -> dict[str, Json]:
    """Return a pod (v1) that runs an image under a runtime class, without a token of the cluster and without root.

    Raises:
        BadInputError: a name cannot stand in a pod, or the image does not name its digest.

    """
    for text in (order.name, order.namespace, order.runtime_class):
        if not _NAME.fullmatch(text):
            raise BadInputError(f"{text!r} is no name of an object of Kubernetes.")
    if not _DIGEST.fullmatch(order.image):
        raise BadInputError(
            "The image does not name its digest.",
            why="A tag can be pointed at something else after it was measured.",
            fix="Write it as NAME@sha256:DIGEST.",
        )
    data = init_data(order.release_url, order.policy)
    labels: dict[str, Json] = {"app.kubernetes.io/name": order.name}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": order.name,
            "namespace": order.namespace,
            "labels": labels,
            "annotations": {order.annotation: data.annotation},
        },
        "spec": {
            "runtimeClassName": order.runtime_class,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "restartPolicy": "Never",
            "containers": [_container(order)],
        },
    }


def _container(order: PodOrder) -> dict[str, Json]:
    bounds: dict[str, Json] = {
        "memory": str(order.limits.memory_bytes),
        "ephemeral-storage": str(order.limits.disk_bytes),
        "cpu": "1",
    }
    dropped: list[Json] = ["ALL"]
    environment: list[Json] = [
        {"name": name, "value": value} for name, value in sorted(order.environment.items())
    ]
    return {
        "name": order.name,
        "image": order.image,
        "env": environment,
        "resources": {"limits": bounds, "requests": dict(bounds)},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": dropped},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def _url(text: str) -> str:
    if not re.fullmatch(r"https://[A-Za-z0-9.:\[\]/_-]{1,400}", text):
        raise BadInputError(
            f"{text!r} is no https address.", fix="Write https://HOST[:PORT][/PATH]."
        )
    return text


def _toml(text: str) -> str:
    """Write a basic string of TOML 1.0."""
    said = []
    for character in text:
        if character in '"\\':
            said.append("\\" + character)
        elif character == "\n":
            said.append("\\n")
        elif ord(character) < 0x20 or ord(character) == 0x7F:
            said.append(f"\\u{ord(character):04X}")
        else:
            said.append(character)
    return '"' + "".join(said) + '"'
