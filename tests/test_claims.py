"""Who is believed to be at work on a run, and for how long."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from config import Run
from runner import claims, serving
from store.files import write_whole

RUN = Run("mlp", "clean", 0)
ELSEWHERE = {"state": "training", "pid": 1, "machine": "elsewhere", "beat": 7}


@pytest.fixture
def clock(monkeypatch):
    """A monotonic clock that stands still until its `seconds` are changed; time goes on."""
    clock = SimpleNamespace(seconds=0.0, time=time.time)
    clock.monotonic = lambda: clock.seconds
    monkeypatch.setattr(claims, "time", clock)
    monkeypatch.setattr(claims, "_watched", {})
    return clock


@pytest.fixture
def file(tmp_path) -> Path:
    file = claims.path(tmp_path, RUN)
    file.parent.mkdir()
    return file


def write(file: Path, facts: dict, ahead: float = 0.0) -> None:
    file.write_text(json.dumps(facts))
    os.utime(file, (time.time() + ahead,) * 2)


def is_free(file: Path) -> bool:
    return claims._claim(file)


@pytest.mark.parametrize("ahead", [0, -30, 3600, 1e9])
def test_beats_are_watched_by_ones_own_clock_whatever_the_time_of_the_file(file, clock, ahead):
    write(file, ELSEWHERE, ahead)
    assert not is_free(file)
    clock.seconds += claims.STALE - 1
    assert not is_free(file)
    write(file, {**ELSEWHERE, "beat": 8}, ahead)  # a sign of life
    clock.seconds += 2
    assert not is_free(file)
    clock.seconds += claims.STALE - 3
    assert not is_free(file)
    clock.seconds += claims.STALE
    assert is_free(file)


def test_a_process_of_this_machine_that_hangs_is_not_awaited(file, clock):
    write(file, {**ELSEWHERE, "machine": claims.machine_id(), "pid": os.getpid()}, ahead=1e6)
    assert not is_free(file)
    clock.seconds += claims.STALE + 1
    assert is_free(file)


def test_what_is_old_by_the_clock_of_its_folder_is_free_at_once(file, clock):
    write(file, ELSEWHERE, ahead=-claims.STALE - 5)
    assert is_free(file)


def test_a_file_far_in_the_future_is_nobody_at_work_for_a_glance(file):
    write(file, ELSEWHERE, ahead=3600)
    assert not claims.read(file)["alive"]
    write(file, ELSEWHERE, ahead=5)  # as clocks differ
    assert claims.read(file)["alive"] and claims.read(file)["heard"] == 0


def make_pipe(file: Path) -> None:
    os.mkfifo(file)


@pytest.mark.parametrize("make", [make_pipe, Path.mkdir, Path.touch], ids=["pipe", "folder", ""])
def test_what_is_no_status_is_not_waited_for(file, clock, make):
    make(file)
    os.utime(file, (time.time() + 1e6,) * 2)
    assert claims.read(file) is None
    assert not is_free(file)  # it may be made this moment
    clock.seconds += serving.BEAT + 1
    assert is_free(file)


@pytest.mark.parametrize(
    "changes",
    [{"pid": "1"}, {"pid": True}, {"state": None}, {"machine": 3}, {"epoch": 1}, {"of": "4"}],
)
def test_absurd_facts_are_no_status(file, changes):
    write(file, {**ELSEWHERE, **changes})
    assert claims.read(file) is None


def test_deep_nesting_is_no_status(file):
    file.write_text("[" * 100_000)
    assert claims.read(file) is None


class Stopped(Exception):
    pass


def test_the_beats_come_from_the_work_and_end_with_it(tmp_path, monkeypatch):
    file = claims.path(tmp_path, RUN)

    def beat() -> int:
        return json.loads(file.read_text())["beat"]

    with claims.working(tmp_path, RUN, Stopped) as tell:
        first = beat()
        tell("training", epoch=1, of=4)
        assert beat() == first + 1
        monkeypatch.setattr(serving, "_due", 0.0)
        serving.stopping()
        facts = claims.read(file)
        assert (facts["beat"], facts["state"], facts["epoch"]) == (first + 2, "training", 1)
    assert not file.exists() and not serving._signs


def test_a_worker_that_hangs_gives_no_sign_of_life(tmp_path):
    code = f"""
import time
from pathlib import Path
from runner import claims, serving
serving.BEAT = 0.01
import test_claims
with claims.working(Path({str(tmp_path)!r}), test_claims.RUN, test_claims.Stopped):
    serving.stopping()
    print("at work", flush=True)
    time.sleep(600)
"""
    root = Path(__file__).parent.parent
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'tests'}"}
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "at work\n"
        file = claims.path(tmp_path, RUN)
        before = file.read_bytes(), file.stat().st_mtime_ns
        time.sleep(0.5)
        assert (file.read_bytes(), file.stat().st_mtime_ns) == before
    finally:
        process.kill()
        process.wait()


def test_a_claim_is_taken_over_whole(file, clock):
    write_whole(file, b"{")
    os.utime(file, (0, 0))
    with claims.working(file.parent.parent, RUN, Stopped):
        assert claims.read(file)["pid"] == os.getpid()
