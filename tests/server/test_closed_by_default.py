"""What could read or end a server is closed unless a setting names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.command import admin_headers, server_command
from server.errors import SettingsError
from server.installation import Installation, flags_of
from server.ports import Ports
from server.settings import Settings

TOKEN = "a-token-of-an-administrator"  # noqa: S105


def settings(folder: Path, **values: str) -> Settings:
    return Settings.from_environment({"MODEL_REPOSITORY": str(folder), **values})


def command_of(folder: Path, *flags: str, **values: str) -> list[str]:
    """The command line of a Triton that knows these newer flags."""
    return server_command(
        settings(folder, **values),
        Installation(folder, folder, folder, folder, None, None, frozenset(flags)),
        Ports(1, 2, 3),
        folder,
        folder,
        shm_prefix="x",
        gpu=False,
        secret="secret",  # noqa: S106
    )


def restrictions(folder: Path, **values: str) -> set[str]:
    """Who may call what, in Triton's words, which are the same for both protocols."""
    command = command_of(folder, **values)
    http = {a.partition("=")[2] for a in command if a.startswith("--http-restricted-api=")}
    grpc = {a.partition("=")[2] for a in command if a.startswith("--grpc-restricted-protocol=")}
    assert http == grpc
    return http


def test_without_settings_all_but_statistics_is_closed(tmp_path: Path) -> None:
    closed = "model-repository,shared-memory,trace,logging:triton-closed=secret"
    assert restrictions(tmp_path) == {closed}


def test_a_token_alone_opens_nothing(tmp_path: Path) -> None:
    closed = "model-repository,shared-memory,trace,logging:triton-closed=secret"
    administered = f"statistics:triton-admin={TOKEN}"
    assert restrictions(tmp_path, ADMIN_TOKEN=TOKEN) == {closed, administered}


@pytest.mark.parametrize(
    ("name", "value", "api"),
    [
        ("MODEL_CONTROL", "explicit", "model-repository"),
        ("SHARED_MEMORY", "on", "shared-memory"),
        ("TRACE_CONTROL", "on", "trace"),
        ("LOG_CONTROL", "on", "logging"),
    ],
)
def test_each_is_opened_by_a_setting_of_its_own(
    tmp_path: Path, name: str, value: str, api: str
) -> None:
    apis = ["model-repository", "shared-memory", "trace", "logging"]
    apis.remove(api)
    closed = f"{','.join(apis)}:triton-closed=secret"
    assert restrictions(tmp_path, **{name: value}) == {closed}
    with_token = restrictions(tmp_path, **{name: value}, ADMIN_TOKEN=TOKEN)
    assert with_token == {closed, f"{api},statistics:triton-admin={TOKEN}"}


def test_all_opened_leaves_nothing_closed(tmp_path: Path) -> None:
    opened = {"SHARED_MEMORY": "on", "TRACE_CONTROL": "on", "LOG_CONTROL": "on"}
    assert restrictions(tmp_path, MODEL_CONTROL="explicit", **opened) == set()


def test_the_program_itself_may_ask_for_the_list_of_models(tmp_path: Path) -> None:
    assert admin_headers(settings(tmp_path), "secret") == {"triton-closed": "secret"}
    assert admin_headers(settings(tmp_path, MODEL_CONTROL="explicit"), "secret") == {}
    explicit = settings(tmp_path, MODEL_CONTROL="explicit", ADMIN_TOKEN=TOKEN)
    assert admin_headers(explicit, "secret") == {"triton-admin": TOKEN}


@pytest.mark.parametrize(
    ("values", "guarded"),
    [
        ({}, False),
        ({"BIND": "127.0.0.5"}, False),
        ({"GUARD": "on"}, True),
        ({"BIND": "0.0.0.0"}, True),  # noqa: S104
        ({"BIND": "10.0.0.1", "GUARD": "auto"}, True),
        ({"BIND": "0.0.0.0", "GUARD": "off", "ANYBODY_MAY_END_THIS_SERVER": "yes"}, False),  # noqa: S104
    ],
)
def test_a_guard_stands_wherever_others_reach_the_server(
    tmp_path: Path, values: dict[str, str], guarded: bool
) -> None:
    assert settings(tmp_path, **values).guarded is guarded


@pytest.mark.parametrize("acceptance", ["", "no"])
def test_without_a_guard_a_server_that_others_reach_is_refused(
    tmp_path: Path, acceptance: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        settings(
            tmp_path,
            BIND="0.0.0.0",  # noqa: S104
            GUARD="off",
            ANYBODY_MAY_END_THIS_SERVER=acceptance,
        )
    assert str(refused.value) == (
        "GUARD is 'off' and BIND is 0.0.0.0: whoever reaches the server can end it with a single "
        "request; leave GUARD on, or set ANYBODY_MAY_END_THIS_SERVER=yes"
    )


def test_flags_of_newer_tritons_are_found_in_the_program_and_used(tmp_path: Path) -> None:
    newer, older = tmp_path / "newer", tmp_path / "older"
    newer.write_bytes(b"\x7fELF..\0allow-client-shm\0http-max-input-size\0..")
    older.write_bytes(b"\x7fELF..\0allow-http\0..")
    assert flags_of(older) == frozenset()
    flags = flags_of(newer)
    command = command_of(tmp_path, *flags, MAX_BODY="1048576")
    assert command.count("--allow-client-shm=false") == 1
    assert command.count("--http-max-input-size=1048576") == 1
    assert "--allow-client-shm=true" in command_of(tmp_path, *flags, SHARED_MEMORY="on")
    assert not [
        each for each in command_of(tmp_path) if "client-shm" in each or "input-size" in each
    ]
