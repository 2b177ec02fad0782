"""Which hosts a builder may reach: the package index and where that index keeps its files, nothing else.

The index is the operator's setting, else the default of the installed `uv`. Where its files lie is asked of
the index itself, from inside the walls, once; nothing here knows a registry by name.
"""

import re
import subprocess
from typing import Final
from urllib.parse import urlsplit

from hive.core.errors import BuildError, ConfigError, SpecError
from hive.core.grant import HostRule
from hive.execution.spec_file import host_rule

HOSTS_MAX: Final = 8
ANSWER: Final = "file-host "
_EVERYWHERE: Final = ("pip", "setuptools")
_HELP_TIMEOUT_S: Final = 10.0
_DEFAULT: Final = re.compile(r"--default-index.*?<(https?://[^\s>]+)>", re.DOTALL)

SCRIPT: Final = """
import base64, re, sys, urllib.error, urllib.parse, urllib.request
def read(page):
    parts = urllib.parse.urlsplit(page)
    accept = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"
    headers = {"Accept": accept, "User-Agent": "hive"}
    if parts.username:
        pair = urllib.parse.unquote(parts.username) + ":" + urllib.parse.unquote(parts.password or "")
        headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        netloc = parts.hostname + (f":{parts.port}" if parts.port else "")
        page = parts._replace(netloc=netloc).geturl()
    with urllib.request.urlopen(urllib.request.Request(page, headers=headers), timeout=30) as answer:
        text = answer.read(64 << 20).decode("utf-8", "replace")
    for link in re.findall(r'(?:"url":\\s*"|href=["\\'])([^"\\']+)', text):
        there = urllib.parse.urlsplit(urllib.parse.urljoin(page, link))
        if there.hostname:
            yield f"{there.hostname}:{there.port or (443 if there.scheme == 'https' else 80)}"
for page in sys.argv[1:]:
    try:
        hosts = sorted(set(read(page)))[:8]
    except urllib.error.HTTPError as error:
        print(error)
        continue
    for host in hosts:
        print("file-host", host)
    if hosts:
        break
"""
"""Run inside the walls by the bare interpreter: print the hosts that a page of the index names."""


def default_index(uv: str) -> str:
    """Return the index that `uv` uses when none is named.

    Raises:
        ConfigError: it does not tell.

    """
    try:
        told = subprocess.run(  # noqa: S603 - the node's own uv
            [uv, "pip", "install", "--help"],
            env={"NO_COLOR": "1"},
            cwd="/",
            capture_output=True,
            text=True,
            timeout=_HELP_TIMEOUT_S,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(
            "uv does not run.", why=str(error), fix="Set HIVE_UV_BIN to a working uv."
        ) from error
    found = _DEFAULT.search(told)
    if not found:
        raise ConfigError(
            "The package index is not known.",
            why="No index is set, and uv does not name its default.",
            fix="Set HIVE_INDEX_URL to the address of your package index.",
        )
    return found[1]


def index_host(url: str) -> HostRule:
    """Return the host of an index.

    Raises:
        ConfigError: the setting is no URL.

    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
        parts = urlsplit("")
    if parts.scheme not in ("https", "http") or not host:
        raise ConfigError(
            "HIVE_INDEX_URL is no URL of a package index.",
            why="It begins with https:// and names a host.",
            fix="Correct it.",
        )
    return HostRule(host=host.lower(), ports=(port or (443 if parts.scheme == "https" else 80),))


def index_pages(url: str, package: str) -> tuple[str, ...]:
    """Return the pages to ask, in order: what every index has first, the stranger's package last."""
    names = dict.fromkeys((*_EVERYWHERE, *filter(None, (package,))))
    return tuple(f"{url.rstrip('/')}/{name}/" for name in names)


def answered_hosts(lines: list[str]) -> tuple[HostRule, ...]:
    """Read what `SCRIPT` printed.

    Raises:
        BuildError: it printed no host.

    """
    hosts = []
    for line in lines:
        if line.startswith(ANSWER):
            try:
                rule = host_rule(line.removeprefix(ANSWER).strip())
            except SpecError:
                continue
            if not rule.host.startswith("*"):
                hosts.append(rule)
    if not hosts:
        last = next((line for line in reversed(lines) if line.strip()), "no answer")
        raise BuildError(
            "The package index does not answer.",
            why=f"{last[:300]}",
            fix="Check the network and HIVE_INDEX_URL; `hive doctor` tries it.",
        )
    return tuple(hosts[:HOSTS_MAX])
