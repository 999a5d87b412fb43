"""Floods, slowness and idleness end where their limits are, and nobody else notices."""

from __future__ import annotations

import struct
import time
from pathlib import Path

from server.guard.http2.frames import (
    DATA,
    END_HEADERS,
    HEADERS,
    PING,
    RST_STREAM,
    ErrorCode,
    frame,
)
from tests.guard.raw_http2 import INFER, RawClient, answers
from tests.guard.running_guard import RunningGuard, running_guard


def test_header_list_that_unpacks_to_megabytes_is_refused(client: RawClient) -> None:
    # An entry of 4 kB of the dynamic table, then a thousand references of one byte to it.
    entry = b"\x40\x01a\x7f\xa1\x1e" + b"x" * 4000

    client.send(frame(HEADERS, END_HEADERS, 1, entry + b"\xbe" * 1000))

    assert client.goaway() == ErrorCode.ENHANCE_YOUR_CALM


def test_rapid_resets_end_in_calm(client: RawClient) -> None:
    for number in range(1, 12_001, 2):
        client.send(
            frame(HEADERS, END_HEADERS, number, client.block(INFER))
            + frame(RST_STREAM, 0, number, struct.pack(">L", ErrorCode.CANCEL))
        )

    assert client.goaway() == ErrorCode.ENHANCE_YOUR_CALM


def test_empty_data_without_end_ends_in_calm(client: RawClient) -> None:
    client.send(
        frame(HEADERS, END_HEADERS, 1, client.block(INFER)) + frame(DATA, 0, 1, b"") * 5_000
    )

    assert client.goaway() == ErrorCode.ENHANCE_YOUR_CALM


def test_streams_beyond_the_limit_are_refused(client: RawClient) -> None:
    for number in range(1, 2 * 257, 2):
        client.send(frame(HEADERS, END_HEADERS, number, client.block(INFER)))

    assert client.reset(2 * 256 + 1) == ErrorCode.REFUSED_STREAM
    assert client.is_alive()


def test_pings_of_a_peer_that_reads_nothing_fill_no_memory(guard: RunningGuard) -> None:
    before = guard.memory_bytes()
    with RawClient((guard.host, guard.port)) as client:
        client.socket.settimeout(2)
        for _ in range(200):
            client.send(frame(PING, 0, 0, bytes(8)) * 1000)

        assert guard.memory_bytes() < before + (8 << 20)
    assert answers((guard.host, guard.port))


def test_request_that_does_not_come_on_is_refused_and_its_neighbour_is_not(tmp_path: Path) -> None:
    with (
        running_guard(tmp_path, READ_TIMEOUT=1) as guard,
        RawClient((guard.host, guard.port)) as slow,
    ):
        slow.send(frame(HEADERS, END_HEADERS, 1, slow.block(INFER)) + frame(DATA, 0, 1, b"\0\0"))

        assert b"nothing came" in slow.until(HEADERS, 1).payload
        assert slow.is_alive()
        assert answers((guard.host, guard.port))


def test_idle_connection_is_closed_with_a_word(tmp_path: Path) -> None:
    with (
        running_guard(tmp_path, IDLE_TIMEOUT=1) as guard,
        RawClient((guard.host, guard.port)) as idle,
    ):
        assert idle.is_alive()

        assert idle.goaway() == ErrorCode.NO_ERROR


def test_idle_connection_makes_room_for_a_new_one(tmp_path: Path) -> None:
    with running_guard(tmp_path, MAX_CONNECTIONS=4) as guard:
        address = guard.host, guard.port
        clients = [RawClient(address) for _ in range(4)]
        for client in clients:
            assert client.is_alive()
            time.sleep(0.01)  # the guard's clock counts milliseconds

        assert answers(address)

        assert clients[0].goaway() == ErrorCode.NO_ERROR
        for client in clients:
            client.socket.close()


def test_half_sent_messages_end_where_the_memory_does(tmp_path: Path) -> None:
    with (
        running_guard(tmp_path, MAX_BODIES=1 << 20) as guard,
        RawClient((guard.host, guard.port)) as client,
    ):
        piece = b"\0" + (2_000_000).to_bytes(4, "big") + bytes(16_000)
        for number in range(1, 201, 2):
            client.send(
                frame(HEADERS, END_HEADERS, number, client.block(INFER))
                + frame(DATA, 0, number, piece)
            )

        assert b"memory" in client.until(HEADERS, 1).payload
        assert client.is_alive()
        assert answers((guard.host, guard.port))
