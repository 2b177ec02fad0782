"""A small package index with wheels made on the spot, served as an ASGI app: for building without a network."""

import base64
import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Mapping, Sequence

import anyio
from starlette.types import Receive, Scope, Send


def make_wheel(
    name: str,
    files: Mapping[str, str | bytes],
    *,
    requires: Sequence[str] = (),
    version: str = "1.0",
) -> bytes:
    """Return a pure wheel with these files."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {one}\n" for one in requires)
    wheel = "Wheel-Version: 1.0\nGenerator: hive\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    content = {**files, f"{info}/METADATA": metadata, f"{info}/WHEEL": wheel}
    record = []
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, text in content.items():
            data = text if isinstance(text, bytes) else text.encode()
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record.append(f"{path},sha256={digest},{len(data)}")
            archive.writestr(zipfile.ZipInfo(path), data)
        record.append(f"{info}/RECORD,,")
        archive.writestr(zipfile.ZipInfo(f"{info}/RECORD"), "\n".join(record) + "\n")
    return target.getvalue()


def make_source(name: str, files: Mapping[str, str], *, version: str = "1.0") -> bytes:
    """Return a source archive with these files."""
    target = io.BytesIO()
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    with tarfile.open(fileobj=target, mode="w:gz") as archive:
        for path, text in {**files, "PKG-INFO": metadata}.items():
            data = text.encode()
            member = tarfile.TarInfo(f"{name}-{version}/{path}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return target.getvalue()


_JSON = b"application/vnd.pypi.simple.v1+json"


class WheelIndex:
    """Serve `/simple/NAME/` and `/files/FILE`; keeps what was asked for."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.uploaded: dict[
            str, str
        ] = {}  # by file, the moment that the index tells; none: it tells no file's
        self.tells_hashes = False
        self.asked: list[str] = []
        self.held = anyio.Event()
        self._hold = ""
        self._release = anyio.Event()
        self._elsewhere: dict[str, str] = {}

    def redirect(self, path: str, url: str) -> None:
        """Send who asks for a path to another server."""
        self._elsewhere[path] = url + path

    def hold(self, path: str) -> None:
        """Answer this path only after `release`; `held` is set when it was asked for."""
        self._hold = path

    def release(self) -> None:
        """Answer everything again."""
        self._hold = ""
        self._release.set()

    def add_wheel(
        self, name: str, files: Mapping[str, str | bytes], *, requires: Sequence[str] = ()
    ) -> None:
        """Offer a wheel of version 1.0."""
        self.files[f"{name}-1.0-py3-none-any.whl"] = make_wheel(name, files, requires=requires)

    def add_source(self, name: str, files: Mapping[str, str]) -> None:
        """Offer a source archive of version 1.0."""
        self.files[f"{name}-1.0.tar.gz"] = make_source(name, files)

    def _as_json(self, name: str, found: Sequence[str]) -> bytes:
        """Answer as the simple API in JSON does, with the moment of each upload that is known (PEP 700)."""
        files = [
            {"filename": one, "url": f"/files/{one}", "hashes": {}}
            | ({"upload-time": self.uploaded[one]} if one in self.uploaded else {})
            for one in found
        ]
        page = {"meta": {"api-version": "1.1"}, "name": name, "files": files, "versions": ["1.0"]}
        return json.dumps(page).encode()

    def _fragment(self, name: str) -> str:
        digest = hashlib.sha256(self.files[name]).hexdigest()
        return f"#sha256={digest}" if self.tells_hashes else ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path: str = scope["path"]
        self.asked.append(path)
        if path == self._hold:
            self.held.set()
            await self._release.wait()
        status, kind, body = 404, b"text/plain", b"no such thing"
        if path.startswith("/simple/"):
            name = path.removeprefix("/simple/").strip("/")
            found = [one for one in self.files if one.split("-")[0].replace("_", "-") == name]
            if found and self.uploaded:
                status, kind, body = 200, _JSON, self._as_json(name, found)
            elif found:
                links = "".join(
                    f'<a href="/files/{one}{self._fragment(one)}">{one}</a>\n' for one in found
                )
                status, kind, body = (
                    200,
                    b"text/html",
                    f"<html><body>{links}</body></html>".encode(),
                )
        elif path.removeprefix("/files/") in self.files:
            status, kind = 200, b"application/octet-stream"
            body = self.files[path.removeprefix("/files/")]
        if path in self._elsewhere:
            status = 302
        headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
        if path in self._elsewhere:
            headers.append((b"location", self._elsewhere[path].encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send(
            {"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body}
        )
