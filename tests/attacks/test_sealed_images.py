"""A sealed image that was cut, swapped, repeated, mixed with another or given another name."""

import io

import pytest

from hive.confidential import sealing
from hive.confidential.sealing import MAGIC, read_head, seal, unseal, written_whole
from hive.core.errors import AttestationError
from hive.core.randomness import SystemRandomness

KEY = bytes(range(32))
PIECE = 64
SEALED_PIECE = PIECE + 16


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(sealing, "PIECE_BYTES", PIECE)


def sealed(data: bytes, *, image="payroll", key=KEY) -> bytes:
    return b"".join(seal(io.BytesIO(data), image, key, SystemRandomness()))


def opened(data: bytes, *, image="payroll", key=KEY) -> bytes:
    return b"".join(unseal(io.BytesIO(data), key, image=image))


def pieces_of(data: bytes) -> tuple[bytes, list[bytes]]:
    _, head = read_head(io.BytesIO(data))
    body = data[len(head) :]
    return head, [body[at : at + SEALED_PIECE] for at in range(0, len(body), SEALED_PIECE)]


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 5 * PIECE, 5 * PIECE + 7])
def test_what_was_sealed_is_opened(size):
    data = bytes(at % 251 for at in range(size))
    assert opened(sealed(data)) == data


def test_no_byte_can_be_changed():
    whole = sealed(b"a" * 200)
    for at in range(len(whole)):
        changed = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        with pytest.raises(AttestationError):
            opened(changed)


def test_it_cannot_be_cut_anywhere():
    whole = sealed(b"a" * (3 * PIECE))
    for size in range(len(whole)):
        with pytest.raises(AttestationError):
            opened(whole[:size])


def test_pieces_cannot_be_swapped_repeated_left_out_or_added():
    head, pieces = pieces_of(sealed(bytes(range(256))))
    assert len(pieces) == 4
    first, second, third, last = pieces
    for other in (
        [second, first, third, last],
        [first, first, third, last],
        [first, third, last],
        [first, second, third],
        [*pieces, last],
        [*pieces, first],
    ):
        with pytest.raises(AttestationError):
            opened(head + b"".join(other))


def test_pieces_of_two_images_cannot_be_mixed():
    one, two = pieces_of(sealed(b"a" * 256)), pieces_of(sealed(b"b" * 256))
    with pytest.raises(AttestationError):
        opened(one[0] + one[1][0] + b"".join(two[1][1:]))
    with pytest.raises(AttestationError):
        opened(two[0] + b"".join(one[1]))


def test_another_key_or_another_image_opens_nothing():
    whole = sealed(b"secret", image="other")
    with pytest.raises(AttestationError, match="other"):
        opened(whole)
    renamed = whole.replace(b"other", b"payro")
    with pytest.raises(AttestationError):
        opened(renamed, image="payro")
    with pytest.raises(AttestationError):
        opened(whole, image="other", key=bytes(32))
    with pytest.raises(AttestationError, match="32 bytes"):
        opened(whole, image="other", key=b"short")


@pytest.mark.parametrize(
    "head", [b"", MAGIC, MAGIC + b"\xff\xff", MAGIC + b"\x00\x02{}", b"#!/bin/sh\n" * 10]
)
def test_what_is_no_sealed_image_is_refused(head):
    with pytest.raises(AttestationError):
        opened(head)


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    whole = sealed(b"a" * 300)
    with pytest.raises(AttestationError):
        written_whole(tmp_path / "image", unseal(io.BytesIO(whole[:-1]), KEY, image="payroll"))
    assert list(tmp_path.iterdir()) == []
    written_whole(tmp_path / "image", unseal(io.BytesIO(whole), KEY, image="payroll"))
    assert (tmp_path / "image").read_bytes() == b"a" * 300
    with pytest.raises(FileExistsError):
        written_whole(tmp_path / "image", iter([b"another"]))
    assert (tmp_path / "image").read_bytes() == b"a" * 300
