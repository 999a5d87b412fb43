"""Who used the processors, on recorded times and on a real process."""

import math
import subprocess
import sys

import pytest

from loadtests.report.machine import ProcessTree, Used, shares

BURN = """
import sys, time
while time.process_time() < 0.3:
    pass
print("burnt", flush=True)
sys.stdin.readline()
"""


def test_shares_are_processors_that_were_busy() -> None:
    recorded = [Used(10, 5.0, 1.0, 100.0, 0), Used(14, 11.0, 2.0, 107.4, 0)]
    found = shares(recorded, 10, 14)
    assert (found.server, found.client) == (1.5, 0.25)
    assert found.others == pytest.approx(0.1)
    assert shares(recorded, 11, 12).server == pytest.approx(1.5)


def test_a_server_that_cannot_be_seen_has_no_share() -> None:
    found = shares([Used(0, None, 0.0, 0.0, 0), Used(4, None, 1.0, 8.0, 0)], 0, 4)
    assert math.isnan(found.server)
    assert (found.client, found.others) == (0.25, 1.75)


def test_the_time_of_a_process_that_ended_is_not_forgotten() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", BURN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdin
        assert process.stdout
        tree = ProcessTree([process.pid])
        process.stdout.readline()
        burnt = tree.read()
        assert burnt >= 0.25
        assert tree.memory > 0
        assert ProcessTree([process.pid], without=[process.pid]).read() == 0
        process.stdin.write("\n")
    assert tree.read() == burnt
    assert tree.memory == 0
