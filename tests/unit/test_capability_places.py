"""Paths, URLs, hosts and names: what can be read in two ways leads nowhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hive.security.capability.names import plain_name
from hive.security.capability.places import lexical_path, path_under, plain_host, url_place

OUT = [
    "/data/x/../../etc/shadow",
    "/data/x/..",
    "/data/x/./../../etc",
    "/data/x//../../etc",
    "/data/x/%2e%2e/%2e%2e/etc",
    "/data/x/%2E%2E/etc",
    "/data/x/.%2e/etc",
    "/data/x/%252e%252e/etc",
    "/data/x/%25252e%25252e/etc",
    "/data/x/..%2f..%2fetc",
    "/data/x%2f..%2fetc",
    "/data/x/%c0%ae%c0%ae/etc",
    "/data/x/%e0%80%ae/etc",
    "/data/x/..\\..\\etc",
    "/data/x/%5c..%5cetc",
    "/data/x\\..\\etc",
    "/data/x/..;/etc",
    "/data/x/\x00",
    "/data/x/%00/etc",
    "/data/x/a\n/../b",
    "/data/x/\u2025/etc",
    "/data/x/\uff0e\uff0e/etc",
    "/data/x/\uff0e\uff0e\uff0fetc",
    "/data/x/..\u2215etc",
    "/data/x/..\u2044etc",
    "/data/x/\u2024\u2024/etc",
    "/data/x/.\u200b./etc",
    "/data/x/\ufe52\ufe52/etc",
    "/data/x/.. /etc",
    "/data/x/... /etc",
    "/data/x/.../etc",
    "/data/x/\uff05 2e",
    "/data/xx",
    "/data/x.evil",
    "/data",
    "/data/X/y",
    "data/x/y",
    "~/data/x",
    "",
    "C:/data/x",
    "file:///data/x",
    "/data/x/" + "a" * 5000,
    "//data/y/../x/../../etc",
]
IN = [
    "/data/x",
    "/data/x/",
    "/data/x/y",
    "/data/x/y/z.txt",
    "/data//x/./y",
    "/data/x/a b.txt",
    "/data/x/a%20b.txt",
    "/data/x/100%.txt",
    "/data/x/.git/config",
    "/data/x/a..b",
    "/data/x/müller.txt",
    "/data/x/\u4f60\u597d",
]


@pytest.mark.parametrize("path", OUT)
def test_a_path_that_leads_out_or_hides_where_is_refused(path):
    assert not path_under(path, "/data/x")


@pytest.mark.parametrize("path", IN)
def test_a_plain_path_below_passes(path):
    assert path_under(path, "/data/x")


SEGMENTS = st.sampled_from(
    [
        "a",
        "..",
        ".",
        "",
        "%2e%2e",
        "..%2f",
        "%2f",
        "x",
        "\uff0e\uff0e",
        " ",
        "...",
        "%252e",
        "~",
        "\\",
    ]
)


@given(st.lists(SEGMENTS, max_size=8))
def test_what_passes_stays_below_however_a_server_reads_it(segments):
    import posixpath
    from urllib.parse import unquote

    path = "/data/x/" + "/".join(segments)
    if not path_under(path, "/data/x"):
        return
    for reading in (path, unquote(path), unquote(unquote(path))):
        resolved = posixpath.normpath(reading.replace("\\", "/"))
        assert resolved == "/data/x" or resolved.startswith("/data/x/")


@given(st.text(max_size=40))
def test_any_text_has_one_plain_form_or_none(text):
    plain = lexical_path(text)
    assert plain is None or lexical_path(plain) == plain


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.org@evil.com/v1",
        "https://user:pass@api.example.org/v1",
        "https://api.example.org%40evil.com/v1",
        "https://api.example.org\\@evil.com/v1",
        "https://api.example.org:99999/v1",
        "https://api.example.org:/v1",
        "https://api.ex\u0430mple.org/v1",
        "https://api\u3002example.org/v1",
        "https://api.example.org/v1/../admin",
        "https://api.example.org/v1/%2e%2e/admin",
        "https:///v1",
        "https:api.example.org/v1",
        "//api.example.org/v1",
        " https://api.example.org/v1",
        "https://api.example.org /v1",
        "https://0x7f.1/v1",
        "https://2130706433/",
        "https://127.1/",
        "https://[::1/",
        "javascript:alert(1)",
        "https://api.example.org\t/v1",
    ],
)
def test_a_url_that_hides_where_it_leads_has_no_place(url):
    assert url_place(url) is None


def test_a_url_has_one_place():
    place = url_place("HTTPS://API.Example.org.:443/v1/items?x=..#y")
    assert place is not None
    assert (place.scheme, place.host, place.port, place.path) == (
        "https",
        "api.example.org",
        443,
        "/v1/items",
    )


@pytest.mark.parametrize(
    "name",
    [
        "fs.re\u0430d",
        "\u0440\u0430\u0443.send",
        "\uff46s.read",
        "fs.read\u200b",
        "fs\u2024read",
        "fs.\u202edaer",
        "m\u0430il",
        "\u03bfpen.ai",
        "fs.rea\u0064\u0301",
        "a\x00b",
        "",
        "x" * 600,
    ],
)
def test_a_name_that_could_be_taken_for_another_is_not_plain(name):
    assert not plain_name(name)


@pytest.mark.parametrize(
    "name", ["fs.read", "gpt-4o:latest", "\u65e5\u672c\u8a9e", "server.@resource"]
)
def test_a_name_in_one_script_is_plain(name):
    assert plain_name(name)


@pytest.mark.parametrize(
    "host", ["ex\u0430mple.org", "0177.0.0.1", "1.2.3", "a b.org", "-", "a..b"]
)
def test_a_host_in_disguise_is_none(host):
    assert plain_host(host) == ""
