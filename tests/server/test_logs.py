"""What of Triton's log reaches a person."""

from __future__ import annotations

from pathlib import Path

from server.logs import (
    LogFollower,
    lines_that_matter,
    load_failures,
    of_shared_memory,
    plain_lines,
)

NVML = (
    'W1125 02:08:11.751729 3676 metrics.cc:798] "DCGM unable to start: DCGM initialization error"'
)
INFO = 'I1125 02:08:11.753171 3676 model_lifecycle.cc:472] "loading: m:1"'
FAILED = (
    "E1125 02:08:11.787736 3676 model_lifecycle.cc:642] \"failed to load 'm' version 1: Internal: "
    'ValueError: no such \\"thing\\"\\n\\nAt:\\n  /x/model.py(3): initialize\\n"'
)


def test_errors_are_shown_on_one_line_without_traceback() -> None:
    shown = list(lines_that_matter([INFO, FAILED, "+----+", ""], gpu=False))
    assert shown == ["failed to load 'm' version 1: Internal: ValueError: no such \"thing\""]


def test_missing_gpu_is_only_told_where_there_is_one() -> None:
    assert list(lines_that_matter([NVML], gpu=False)) == []
    assert list(lines_that_matter([NVML], gpu=True)) == [
        "DCGM unable to start: DCGM initialization error"
    ]


def test_failed_model_is_named_with_the_cause() -> None:
    assert load_failures([INFO, FAILED, FAILED]) == [
        "model 'm' does not load: ValueError: no such \"thing\""
    ]


def test_folder_that_is_no_model_is_named() -> None:
    text = "E1125 02:08:11.0 1 m.cc:1] \"Poll failed for model directory '.old': no config.pbtxt\""
    assert load_failures([text]) == ["model '.old' does not load: no config.pbtxt"]


def test_follower_gives_each_finished_line_once(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("one\ntw")
    follower = LogFollower(path)
    assert follower.new_lines() == ["one"]
    with path.open("a") as log:
        log.write("o\nthree\n")
    assert follower.new_lines() == ["two", "three"]
    assert follower.new_lines() == []


def test_a_log_that_was_tidied_away_is_read_on(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("w", buffering=1) as log:
        follower = LogFollower(path)
        log.write("one\n")
        assert follower.new_lines() == ["one"]
        path.unlink()
        log.write("two\n")
        assert follower.new_lines() == ["two"]


def test_shared_memory_is_named_in_place_of_its_key(tmp_path: Path) -> None:
    flag = "If you are running Triton inside docker, use '--shm-size' flag to control the size."
    for words in (
        f"Failed to increase the shared memory pool size for key 'k1' to 2 bytes. {flag} Error: "
        "No space left on device",
        f"Unable to initialize shared memory key 'k1' to requested size (1 bytes). {flag} Error: "
        "No space left on device",
    ):
        told = of_shared_memory(f"model 'm' does not load: {words}", tmp_path)
        assert told.startswith(
            f"model 'm' does not load: the shared memory {tmp_path} is too small or full ("
        )
        assert "No space left on device)" in told
        assert "--shm-size" in told
        assert "k1" not in told


def test_another_failure_stays_as_it_is() -> None:
    assert (
        of_shared_memory("model 'm' does not load: no file") == "model 'm' does not load: no file"
    )


def test_what_others_than_triton_wrote_is_kept() -> None:
    assert list(plain_lines([INFO, "", "+--+", "| a |", "bash: no such file", NVML])) == [
        "bash: no such file"
    ]
