"""A registry of npm packages for a test: it serves archives made on the spot, and remembers what was asked."""

import base64
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from urllib.parse import unquote

from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send


def make_archive(files: Mapping[str, str]) -> bytes:
    """Return the archive of a package."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for path, text in files.items():
            entry = tarfile.TarInfo(f"package/{path}")
            entry.size, entry.mode = len(text.encode()), 0o755
            archive.addfile(entry, io.BytesIO(text.encode()))
    return data.getvalue()


class NpmRegistry:
    """Packages by name, one version each."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.archives_at = ""
        self.made_at: dict[str, str] = {}
        self._packages: dict[str, tuple[dict[str, object], bytes, str]] = {}

    def add(
        self, name: str, files: Mapping[str, str], *, integrity: str = "", **declared: object
    ) -> None:
        """Serve a package; `integrity` is what the registry says of it, when it lies.

        `made_at` holds, by name, when its version was published, where the registry tells.
        """
        about = {"name": name, "version": "1.0.0", **declared}
        archive = make_archive({"package.json": json.dumps(about), **files})
        digest = base64.b64encode(hashlib.sha512(archive).digest()).decode()
        self._packages[name] = (about, archive, integrity or f"sha512-{digest}")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path = unquote(scope["path"]).lstrip("/")
        self.asked.append(path)
        host = dict(scope["headers"])[b"host"].decode()
        await self._answer(path, self.archives_at or f"http://{host}")(scope, receive, send)

    def _answer(self, path: str, place: str) -> Response:
        name, _, archive = path.partition("/-/")
        found = self._packages.get(name)
        if found is None:
            return PlainTextResponse("there is no such package", 404)
        about, data, integrity = found
        if archive:
            return Response(data, media_type="application/octet-stream")
        scripts = about.get("scripts")
        installs = isinstance(scripts, dict) and "postinstall" in scripts
        distribution = {"tarball": f"{place}/{name}/-/it-1.0.0.tgz", "integrity": integrity}
        version = {**about, "dist": distribution, "hasInstallScript": installs}
        told = {"time": {"1.0.0": self.made_at[name]}} if name in self.made_at else {}
        tags = {"latest": "1.0.0"}
        return JSONResponse(
            {"name": name, "dist-tags": tags, "versions": {"1.0.0": version}, **told}
        )
