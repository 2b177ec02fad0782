"""What the official adapters of 0.3 do not look at: whether a file's bytes are base64."""

from typing import Final

from hive_a2a.wire.strict_json import Json, read_base64

_BYTES: Final = ("bytes", "fileWithBytes", "file_with_bytes")
_LISTS: Final = ("parts", "content")


def admit_old_body(value: Json) -> None:
    """Let a body of 0.3 pass, JSON-RPC or REST, whose files are base64.

    Raises:
        WireFault: one is not (-32602).

    """
    if type(value) is not dict:
        return
    params = value.get("params", value)
    message = params.get("message", params.get("request")) if type(params) is dict else None
    if type(message) is not dict:
        return
    for name in _LISTS:
        parts = message.get(name)
        for part in parts if type(parts) is list else ():
            file = part.get("file") if isinstance(part, dict) else None
            if not isinstance(file, dict):
                continue
            for key in _BYTES:
                if isinstance(file.get(key), str):
                    read_base64(file[key])
