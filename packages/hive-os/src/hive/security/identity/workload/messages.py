"""The messages of the SPIFFE Workload API, made from their numbers; nothing generated, no foreign module.

They live in a pool of their own: a process may hold another library that registers messages of the same names.
"""

from collections.abc import Mapping
from typing import Any, Final

from google.protobuf import struct_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

_STRING: Final = FieldDescriptorProto.TYPE_STRING
_BYTES: Final = FieldDescriptorProto.TYPE_BYTES
_MESSAGE: Final = FieldDescriptorProto.TYPE_MESSAGE
_MAP: Final = "map"
_SCALARS: Final = {"string": _STRING, "bytes": _BYTES}
# Name of a message to its fields: name, number, type; `*` before a type says "repeated".
_MESSAGES: Final[Mapping[str, tuple[tuple[str, int, str], ...]]] = {
    "X509SVIDRequest": (),
    "X509SVID": (
        ("spiffe_id", 1, "string"),
        ("x509_svid", 2, "bytes"),
        ("x509_svid_key", 3, "bytes"),
        ("bundle", 4, "bytes"),
        ("hint", 5, "string"),
    ),
    "X509SVIDResponse": (
        ("svids", 1, "*X509SVID"),
        ("crl", 2, "*bytes"),
        ("federated_bundles", 3, _MAP),
    ),
    "X509BundlesRequest": (),
    "X509BundlesResponse": (("crl", 1, "*bytes"), ("bundles", 2, _MAP)),
    "JWTSVIDRequest": (("audience", 1, "*string"), ("spiffe_id", 2, "string")),
    "JWTSVID": (("spiffe_id", 1, "string"), ("svid", 2, "string"), ("hint", 3, "string")),
    "JWTSVIDResponse": (("svids", 1, "*JWTSVID"),),
    "JWTBundlesRequest": (),
    "JWTBundlesResponse": (("bundles", 1, _MAP),),
    "ValidateJWTSVIDRequest": (("audience", 1, "string"), ("svid", 2, "string")),
    "ValidateJWTSVIDResponse": (
        ("spiffe_id", 1, "string"),
        ("claims", 2, "google.protobuf.Struct"),
    ),
}


def classes_of(
    messages: Mapping[str, tuple[tuple[str, int, str], ...]], *, package: str = ""
) -> Mapping[str, Any]:
    """Return a class for each message, in a pool of their own."""
    file = FileDescriptorProto(
        name=f"{package or 'workload'}.proto",
        package=package,
        syntax="proto3",
        dependency=[struct_pb2.DESCRIPTOR.name],
    )
    prefix = f".{package}" if package else ""
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            if kind == _MAP:
                _add_map(message, field)
                entry = f"{prefix}.{name}.{_entry(field)}"
                _add_field(message, field, number, entry, repeated=True)
                continue
            plain = kind.removeprefix("*")
            dotted = plain if plain in _SCALARS else f".{plain}" if "." in plain else ""
            _add_field(
                message, field, number, dotted or f"{prefix}.{plain}", repeated=plain != kind
            )
    pool = DescriptorPool()
    pool.AddSerializedFile(struct_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    dot = f"{package}." if package else ""
    return {name: GetMessageClass(pool.FindMessageTypeByName(dot + name)) for name in messages}


def _add_field(message: Any, name: str, number: int, kind: str, *, repeated: bool) -> None:  # noqa: ANN401
    field = message.field.add(name=name, number=number)
    field.label = (
        FieldDescriptorProto.LABEL_REPEATED if repeated else FieldDescriptorProto.LABEL_OPTIONAL
    )
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type, field.type_name = _MESSAGE, kind


def _add_map(message: Any, name: str) -> None:  # noqa: ANN401
    entry = message.nested_type.add(name=_entry(name))
    entry.options.map_entry = True
    _add_field(entry, "key", 1, "string", repeated=False)
    _add_field(entry, "value", 2, "bytes", repeated=False)


def _entry(field: str) -> str:
    return "".join(part.capitalize() for part in field.split("_")) + "Entry"


WORKLOAD: Final = classes_of(_MESSAGES)
"""The classes by name."""
