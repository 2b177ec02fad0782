"""The words of Rego that rules may use here, and the fields that a question has."""

from typing import Final

FIELDS: Final = frozenset(
    [
        "principal",
        "verb",
        "target",
        "effect",
        "time",
        "labels",
        "arguments",
        "grant",
        "warrant",
        "tier",
        "facts",
        "reputation",
        "counters",
        "relations",
        "relations_at",
    ]
)
INNER_FIELDS: Final = {
    "principal": frozenset(["kind", "name", "owner", "agent", "spiffe_id"]),
    "counters": frozenset(["alarms_last_hour", "refusals_last_hour"]),
}
"""Fields of a question whose own fields are known as well."""
LISTS: Final = (["labels"], ["facts"], ["warrant"], ["counters"], ["principal"], ["relations"])
COLLECTIONS: Final = frozenset(["Array", "Set", "Object", "ArrayCompr", "SetCompr", "ObjectCompr"])
TEXT_FIELDS: Final = frozenset(
    ["verb", "target", "effect", "time", "grant", "tier", "relations_at"]
)
TOTAL: Final = frozenset(
    [
        "is_array",
        "is_boolean",
        "is_null",
        "is_number",
        "is_object",
        "is_set",
        "is_string",
        "type_name",
        "print",
        "trace",
    ]
)
OF_TEXT: Final = frozenset(
    [
        "concat",
        "contains",
        "endswith",
        "glob.match",
        "indexof",
        "lower",
        "regex.match",
        "replace",
        "split",
        "sprintf",
        "startswith",
        "strings.any_prefix_match",
        "strings.any_suffix_match",
        "strings.reverse",
        "substring",
        "trim",
        "trim_left",
        "trim_prefix",
        "trim_right",
        "trim_space",
        "trim_suffix",
        "upper",
    ]
)
ALLOWED: Final = (
    TOTAL
    | OF_TEXT
    | frozenset(
        [
            "abs",
            "all",
            "any",
            "array.concat",
            "array.reverse",
            "array.slice",
            "base64.decode",
            "base64.encode",
            "base64.is_valid",
            "base64url.decode",
            "base64url.encode",
            "base64url.encode_no_pad",
            "bits.and",
            "bits.negate",
            "bits.or",
            "bits.xor",
            "cast_array",
            "cast_boolean",
            "cast_null",
            "cast_object",
            "cast_set",
            "cast_string",
            "ceil",
            "count",
            "crypto.hmac.sha256",
            "crypto.hmac.sha512",
            "crypto.sha256",
            "floor",
            "format_int",
            "glob.quote_meta",
            "graph.reachable",
            "hex.decode",
            "hex.encode",
            "indexof_n",
            "intersection",
            "json.filter",
            "json.is_valid",
            "json.marshal",
            "json.remove",
            "json.unmarshal",
            "max",
            "min",
            "net.cidr_contains",
            "net.cidr_intersects",
            "net.cidr_is_valid",
            "object.filter",
            "object.get",
            "object.keys",
            "object.remove",
            "object.subset",
            "object.union",
            "product",
            "regex.find_all_string_submatch_n",
            "regex.find_n",
            "regex.is_valid",
            "regex.replace",
            "regex.split",
            "round",
            "semver.compare",
            "semver.is_valid",
            "sort",
            "sum",
            "time.add_date",
            "time.clock",
            "time.date",
            "time.diff",
            "time.format",
            "time.parse_duration_ns",
            "time.parse_ns",
            "time.parse_rfc3339_ns",
            "time.weekday",
            "to_number",
            "union",
            "urlquery.decode",
            "urlquery.decode_object",
            "urlquery.encode",
            "urlquery.encode_object",
        ]
    )
)
"""Pure functions whose work is bounded by the size of what they are given."""
OF_THE_AUTHOR: Final = {
    "concat": 0,
    "regex.replace": 2,
    "replace": 2,
    "sprintf": 0,
    "strings.any_prefix_match": 1,
    "strings.any_suffix_match": 1,
}
"""Functions whose work or result is the product of two arguments: the one at this place has to be the rules' own."""
