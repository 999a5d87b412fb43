"""Header blocks are decoded as hpack does it, whatever the cache holds."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import strategies as st

from server.guard.http2.frames import ConnectionFault, ErrorCode
from server.guard.http2.headers import Header, HeaderDecoder, encode_field, encode_indexed
from server.guard.http2.limits import Allowance

FIELDS = st.lists(
    st.tuples(
        st.sampled_from(["x", "y", ":path", "grpc-timeout"]),
        st.sampled_from(["1", "2", "a" * 200, "b" * 3000]),
    ),
    max_size=6,
)


class Made:
    """What is made of blocks, and how often."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, fields: Sequence[Header]) -> list[Header]:
        self.count += 1
        return [(bytes(name), bytes(value)) for name, value in fields]


@given(st.lists(st.tuples(FIELDS, st.sampled_from([None, 0, 100, 4096])), max_size=20))
def test_cache_changes_nothing(blocks: list[tuple[list[tuple[str, str]], int | None]]) -> None:
    encoder = Encoder()
    decoder = HeaderDecoder(Made(), 1 << 20)
    for fields, table_size in blocks:
        if table_size is not None:
            encoder.header_table_size = table_size
        block = bytes(encoder.encode(fields))

        expected = [(name.encode(), value.encode()) for name, value in fields]
        assert decoder.decode(block) == expected


def test_same_block_is_decoded_once_while_the_table_stays() -> None:
    encoder, made = Encoder(), Made()
    decoder = HeaderDecoder(made, 1 << 14)
    fields = [("x", "1"), (":method", "POST")]
    for _ in range(10):
        decoder.decode(bytes(encoder.encode(fields)))

    assert made.count == 2  # once for the entry, once for the reference to it


def test_same_bytes_mean_something_else_once_the_table_has_changed() -> None:
    decoder = HeaderDecoder(Made(), 1 << 14)
    decoder.decode(b"\x40\x01a\x01b")  # a new entry, number 62
    assert decoder.decode(b"\xbe") == [(b"a", b"b")]
    decoder.decode(b"\x40\x01c\x01d")

    assert decoder.decode(b"\xbe") == [(b"c", b"d")]


def test_list_that_is_too_long_is_refused() -> None:
    decoder = HeaderDecoder(Made(), 1000)

    with pytest.raises(ConnectionFault) as caught:
        decoder.decode(encode_field(b"x", b"y" * 1000))

    assert caught.value.code == ErrorCode.ENHANCE_YOUR_CALM


@given(st.binary(min_size=1, max_size=40), st.binary(max_size=5000))
def test_what_is_encoded_can_be_decoded(name: bytes, value: bytes) -> None:
    block = encode_field(name, value) + encode_indexed(8) + encode_field(4, b"/path")

    found = [(bytes(n), bytes(v)) for n, v in Decoder(1 << 20).decode(block, raw=True)]

    assert found == [(name, value), (b":status", b"200"), (b":path", b"/path")]


def test_allowance_fills_with_time_and_with_answers() -> None:
    now = [0.0]
    allowance = Allowance(lambda: now[0])
    while allowance.spend():
        pass
    assert not allowance.spend()

    allowance.earn()
    assert allowance.spend()
    while allowance.spend():
        pass
    now[0] += 1
    assert allowance.spend()
