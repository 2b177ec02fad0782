"""What a call of a tool gave: text to the terminal, pictures and sounds into files, structured values as JSON."""

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from hive.cli.render import one_line
from hive.core.errors import BadInputError
from hive.core.ids import plain_text
from hive.core.json import Json, decode

FILES_MAX: Final = 100
_ENDINGS: Final = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/gif": "gif",
    "image/webp": "webp",
    "image/svg+xml": "svg",
    "audio/wav": "wav",
    "audio/mpeg": "mp3",
    "audio/ogg": "ogg",
    "application/pdf": "pdf",
    "application/json": "json",
}
_OUTSIDE: Final = re.compile(r"[^A-Za-z0-9._-]+")
_TYPED: Final = ("integer", "number", "boolean", "array", "object", "null")


def arguments_of(words: Sequence[str], schema: Json) -> dict[str, Json]:
    """Read `{"json": ...}`, or `key=value` with types as the schema says and `key:=JSON`.

    Raises:
        BadInputError: a word is neither.

    """
    if len(words) == 1 and words[0].lstrip()[:1] == "{":
        found = _json(words[0], "The arguments are")
        if isinstance(found, dict):
            return found
    fields = schema.get("properties") if isinstance(schema, dict) else None
    known = fields if isinstance(fields, dict) else {}
    arguments: dict[str, Json] = {}
    for word in words:
        key, sign, text = word.partition("=")
        if not sign or not key:
            raise BadInputError(
                f"{one_line(word, 60)!r} is no argument.",
                why="Arguments are one JSON object, or words such as path=notes.txt and count:=3.",
                fix=_example(known),
            )
        if key.endswith(":"):
            arguments[key[:-1]] = _json(text, f"The value of {key[:-1]!r} is")
            continue
        part = known.get(key)
        arguments[key] = _typed(key, text, part if isinstance(part, dict) else {})
    return arguments


def result_lines(result: Mapping[str, Json], *, folder: Path, name: str) -> Iterator[str]:
    """Yield a result as text; what is no text goes into new files of the folder."""
    content = result.get("content")
    parts = [one for one in content if isinstance(one, dict)] if isinstance(content, list) else []
    told = False
    for number, part in enumerate(parts[:FILES_MAX], 1):
        for line in _part_lines(part, folder=folder, stem=f"{name}-{number}"):
            told = True
            yield line
    structured = result.get("structuredContent")
    if structured is not None and not _said_already(structured, parts):
        yield plain_text(json.dumps(structured, indent=2, ensure_ascii=False), keep="\n")
    elif not told:
        yield "It answered with nothing."


def question_lines(result: Mapping[str, Json]) -> Iterator[str]:
    """Yield what a tool wants to know before it goes on; nothing where it has answered."""
    asked = result.get("inputRequests")
    if result.get("resultType") != "input_required" or not isinstance(asked, dict):
        return
    for name, question in asked.items():
        params = question.get("params") if isinstance(question, dict) else None
        text = params.get("message") if isinstance(params, dict) else ""
        yield f"it asks ({one_line(name, 40)}): {one_line(str(text or ''), 300)}"


def _part_lines(part: Mapping[str, Json], *, folder: Path, stem: str) -> Iterator[str]:
    kind = part.get("type")
    if kind == "text":
        yield plain_text(str(part.get("text", "")), keep="\n\t")
    elif kind in ("image", "audio"):
        yield _saved(part.get("data"), str(part.get("mimeType", "")), folder, stem)
    elif kind == "resource_link":
        yield f"{one_line(str(part.get('name', '')), 80)}   {one_line(str(part.get('uri', '')))}"
    elif kind == "resource" and isinstance(resource := part.get("resource"), dict):
        if "text" in resource:
            yield plain_text(str(resource["text"]), keep="\n\t")
        else:
            mime = str(resource.get("mimeType", ""))
            yield _saved(resource.get("blob"), mime, folder, stem)
    else:
        yield plain_text(json.dumps(part, ensure_ascii=False))


def _saved(data: Json, mime: str, folder: Path, stem: str) -> str:
    """Write a part into a file that did not exist before."""
    try:
        content = base64.b64decode(str(data or ""), validate=True)
    except (binascii.Error, ValueError):
        return f"({one_line(mime, 40)}: its data cannot be read)"
    ending = _ENDINGS.get(mime.partition(";")[0].strip().lower(), "bin")
    plain = _OUTSIDE.sub("-", stem).strip(".-") or "result"
    for number in range(1, FILES_MAX + 1):
        path = folder / (f"{plain}.{ending}" if number == 1 else f"{plain}-{number}.{ending}")
        try:
            with path.open("xb") as output:
                output.write(content)
        except FileExistsError:
            continue
        return f"{path}   {one_line(mime, 40)}, {len(content)} bytes"
    return f"({one_line(mime, 40)}: {folder} holds too many files of that name)"


def _said_already(structured: Json, parts: Sequence[Mapping[str, Json]]) -> bool:
    """Tell whether a text of the result is the structured value, as servers do for older clients."""
    for part in parts:
        if part.get("type") == "text":
            text = str(part.get("text", ""))
            if isinstance(structured, dict) and list(structured.values()) == [text]:
                return True
            try:
                if decode(text) == structured:
                    return True
            except ValueError:
                continue
    return False


def _typed(key: str, text: str, schema: Mapping[str, Json]) -> Json:
    kind = schema.get("type")
    kinds = kind if isinstance(kind, list) else [kind]
    if "string" in kinds or not any(one in _TYPED for one in kinds):
        return text
    return _json(text, f"The value of {key!r} is")


def _json(text: str, what: str) -> Json:
    try:
        return decode(text)
    except ValueError as error:
        raise BadInputError(f"{what} not JSON.", why=str(error)) from error


def _example(known: Mapping[str, Json]) -> str:
    words = " ".join(f"{one_line(name, 40)}=..." for name in list(known)[:3])
    return f"hive tool call NAME {words}".rstrip()
