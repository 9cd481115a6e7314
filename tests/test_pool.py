"""Workers that fail, die or are interrupted."""

import functools
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace
from unittest import mock

import pytest

from conftest import ROOT
from runner import pool, serving
from runner.events import Kind

put_off = set()
"""In a worker: the jobs that it asked to do later."""


def work(job, tell, fate=None):
    """Do what the fate of this job says."""
    tell("pid", pid=os.getpid())
    match (fate or {}).get(job):
        case "raise":
            raise MemoryError("no more")
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            os._exit(3)
        case "later" if job not in put_off:
            put_off.add(job)
            raise serving.Later("not now")
        case "quiet":
            os._exit(0)
        case "slow":
            time.sleep(600)
        case "late":  # fails when it should save
            while not serving.stopping():
                time.sleep(0.01)
            raise MemoryError("no more")
    tell("fact", value=job * 10)


def run(jobs, fate=None, workers=2):
    events = []
    failed = pool.run_jobs(
        jobs,
        functools.partial(work, fate=fate or {}),
        workers,
        lambda job, kind, facts: events.append((job, kind, facts)),
    )
    return failed, events


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:
        return file.read().split()[2] != "Z"


def test_every_job_is_done_once_and_told():
    failed, events = run(range(6))
    assert not failed
    for kind in ("started", "done"):
        assert sorted(job for job, k, _ in events if k == kind) == list(range(6))
    assert sorted(facts["value"] for _, kind, facts in events if kind == "fact") == [
        *range(0, 60, 10)
    ]
    assert len({facts["pid"] for _, kind, facts in events if kind == "pid"}) <= 2


@pytest.mark.parametrize("workers", [1, 2])
def test_one_bad_job_does_not_take_the_others_along(workers):
    fate = {1: "raise", 2: "kill", 3: "exit"}
    failed, events = run(range(6), fate, workers)
    assert set(failed) == {1, 2, 3}
    assert "MemoryError: no more" in failed[1]
    assert "SIGKILL" in failed[2]
    assert "status 3" in failed[3]
    assert {job for job, kind, _ in events if kind == "done"} == {0, 4, 5}


def test_what_cannot_be_done_now_is_done_after_the_others(monkeypatch):
    monkeypatch.setattr(pool, "PAUSE", 0.5)
    failed, events = run(range(3), {0: "later"}, workers=1)
    assert not failed
    assert [(job, facts) for job, kind, facts in events if kind == Kind.LATER] == [
        (0, {"reason": "not now"})
    ]
    assert [job for job, kind, _ in events if kind == Kind.DONE] == [1, 2, 0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fate", "reason"),
    [("quiet", "ended without an answer"), ("slow", "gave no sign of life for 0.01 minutes")],
)
def test_a_job_whose_workers_end_or_hang_is_not_tried_for_ever(fate, reason, monkeypatch):
    monkeypatch.setattr(pool, "PAUSE", 0.01)
    monkeypatch.setattr(pool, "TRIES", 2)
    if fate == "slow":
        monkeypatch.setattr(pool, "HANGS", 0.6)
    failed, events = run([0], {0: fate}, workers=1)
    assert failed == {0: f"its worker {reason}"}
    assert [kind for _, kind, _ in events if kind != "pid"] == [
        *(Kind.STARTED, Kind.LATER),
        *(Kind.STARTED, Kind.FAILED),
    ]


def test_the_silence_of_workers_is_not_that_of_a_parent_which_was_suspended(monkeypatch):
    clock = SimpleNamespace(seconds=0.0)
    clock.monotonic = lambda: clock.seconds

    def suspended(connections, timeout):
        clock.seconds += 1e6
        return []

    monkeypatch.setattr(pool, "time", clock)
    monkeypatch.setattr(pool, "wait", suspended)
    here = pool._Pool([], work, 1, lambda *_: None, None)
    worker = mock.Mock(connection=None, silent=0.0)
    here.busy[worker] = 0
    here.listen()
    assert worker in here.busy and 0 < worker.silent <= 2 * serving.BEAT


def test_signs_of_life_come_from_work_that_asks_whether_to_stop(monkeypatch):
    heard = []
    monkeypatch.setattr(serving, "_due", 0.0)
    with serving.signs_of_life(lambda: heard.append(1)):
        assert not serving.stopping() and heard == [1]
        assert not serving.stopping() and heard == [1]  # no more often than every BEAT seconds
        monkeypatch.setattr(serving, "_due", 0.0)
        assert not serving.stopping() and heard == [1, 1]
    monkeypatch.setattr(serving, "_due", 0.0)
    assert not serving.stopping() and heard == [1, 1]


def broken_setup():
    raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")


def test_a_setup_that_fails_fails_each_job_and_says_why():
    failed = pool.run_jobs([0, 1], work, 1, lambda *_: None, broken_setup)
    assert set(failed) == {0, 1}
    assert failed[0] == failed[1] and failed[0].startswith("MemoryError: DefaultCPUAllocator")


def test_nothing_to_do():
    assert run([]) == ({}, [])


def test_an_exception_here_ends_the_workers(monkeypatch):
    monkeypatch.setattr(pool, "GRACE", 1.0)  # they do not listen
    pids = []

    def stop(job, kind, facts):
        if kind == "pid":
            pids.append(facts["pid"])
            if len(pids) == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pool.run_jobs(
            range(4), functools.partial(work, fate=dict.fromkeys(range(4), "slow")), 2, stop
        )
    assert not any(alive(pid) for pid in pids)


@pytest.mark.parametrize("again", [False, True])
def test_a_job_that_fails_while_all_are_stopping_is_told(again):
    pids, failed = [], []

    def stop(job, kind, facts):
        if kind == "pid":
            pids.append(facts["pid"])
            raise KeyboardInterrupt
        if kind == Kind.FAILED:
            failed.append((job, facts))
            if again:
                raise OSError("a full disk, say")

    with pytest.raises(OSError if again else KeyboardInterrupt):
        pool.run_jobs([0], functools.partial(work, fate={0: "late"}), 1, stop)
    assert failed == [(0, {"reason": "MemoryError: no more"})]
    assert not any(alive(pid) for pid in pids)


def test_workers_end_when_their_parent_is_killed(tmp_path):
    script = f"""
import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}]
import functools, test_pool
from runner import pool, serving
if __name__ == "__main__":
    show = lambda job, kind, facts: kind == "pid" and print(facts["pid"], flush=True)
    pool.run_jobs([0, 1], functools.partial(test_pool.work, fate={{0: "slow", 1: "slow"}}), 2, show)
"""
    path = tmp_path / "parent.py"
    path.write_text(script)
    parent = subprocess.Popen([sys.executable, path], stdout=subprocess.PIPE, text=True)
    pids = [int(parent.stdout.readline()) for _ in range(2)]
    assert all(alive(pid) for pid in pids)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 20
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(alive(pid) for pid in pids)
