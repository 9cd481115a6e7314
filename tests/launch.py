"""`run_experiments.py` as processes that a test can hurt.

Either as a user starts it, or as a fork of a server that has torch imported already and whose
workers are forks too: that starts in no time, and functions can be exchanged in it before it
begins, so that it dies within a chosen write, say. Linux only.
"""

import functools
import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from multiprocessing import forkserver
from pathlib import Path

import pytest
import torch

import report
import run_experiments
import train
from conftest import ROOT
from runner import claims, execute, measuring, serving, trained
from store import checkpoints, records

WORDS = "mlp --seeds 0 --epochs 3 --train-size 256 --batch-size 16 --test-size 200 --alphas 0 0.3 1"
WORDS = f"{WORDS} --draws 4 --device cpu --data-dir {ROOT / 'data'}"
PATIENCE = 300.0  # seconds after which something is said to hang
STEPS = 16  # in an epoch

counter = itertools.count()
started: list["Started"] = []
"""All that was started, for the clean-up."""


def members(group: int) -> dict[int, str]:
    """Return the living processes of a process group and their command lines."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, pgrp = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
            if int(pgrp) == group and state not in "ZX":
                found[int(folder.name)] = (folder / "cmdline").read_text()
        except OSError:  # ended meanwhile
            continue
    return found


class Started:
    """An experiment under way, in a process group of its own."""

    def __init__(self, process, log: Path):
        self.process, self.log, self.pid = process, log, process.pid
        started.append(self)

    @property
    def text(self) -> str:
        """All that it has printed so far."""
        return self.log.read_text()

    def until(self, words: str) -> None:
        """Wait until it has printed something."""
        deadline = time.monotonic() + PATIENCE
        while words not in self.text:
            assert self.running and time.monotonic() < deadline, f"no {words!r} in:\n{self.text}"
            time.sleep(0.01)

    @property
    def running(self) -> bool:
        """Whether its first process lives."""
        if isinstance(self.process, subprocess.Popen):
            return self.process.poll() is None
        return self.process.is_alive()

    @property
    def workers(self) -> list[int]:
        """Its worker processes."""
        others = ("resource_tracker", "git\0")
        return [
            p
            for p, c in members(self.pid).items()
            if p != self.pid and not any(word in c for word in others)
        ]

    def kill(self, whom: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to the "parent", a "worker" (if there is one), or the "group" of all."""
        try:
            if whom == "group":
                os.killpg(self.pid, number)
            else:
                for pid in [self.pid] if whom == "parent" else self.workers[:1]:
                    os.kill(pid, number)
        except ProcessLookupError:  # it had just ended
            pass

    def end(self) -> int:
        """Wait for the end of all; return the exit status (-9: killed). No traceback is there."""
        deadline = time.monotonic() + PATIENCE
        while self.running or members(self.pid):
            assert time.monotonic() < deadline, f"{members(self.pid)} still there:\n{self.text}"
            time.sleep(0.01)
        started.remove(self)
        assert "Traceback" not in self.text, self.text
        if isinstance(self.process, subprocess.Popen):
            self.status = self.process.wait()
        else:
            self.process.join()
            self.status = self.process.exitcode
        return self.status


def kill_all() -> None:
    """End whatever a failed test has left."""
    while started:
        started.pop().kill("group")


def start(
    home: Path,
    *words: str,
    before: Callable[[], None] = int,
    log: Path | None = None,
    real: bool = False,
) -> Started:
    """Start an experiment.

    Args:
        home: where its checkpoints and results are kept.
        words: options beside `WORDS`.
        before: what to do in the process before it begins; picklable; not in a real one.
        log: where its output goes.
        real: start it as a user does.
    """
    log = log or home.with_name(f"{home.name}.log{next(counter)}")
    folders = ["--checkpoint-dir", home / "ckpt", "--results-dir", home / "results"]
    line = ["run_experiments.py", *WORDS.split(), *map(str, (*folders, *words))]
    if real:
        with open(log, "wb") as file:
            return Started(
                subprocess.Popen(
                    [sys.executable, *line], cwd=ROOT, stdout=file, stderr=file, process_group=0
                ),
                log,
            )
    start_server()
    process = multiprocessing.get_context("forkserver").Process(
        target=become, args=(line, log, before)
    )
    process.start()
    it = Started(process, log)
    while it.running and not log.exists():  # then it has a group of its own
        time.sleep(0.005)
    return it


@functools.cache
def start_server() -> None:
    """Start the process whose forks the quick ones are, with all that they need imported."""
    forkserver.set_forkserver_preload(["pytest", "launch"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{ROOT / 'tests'}")
        forkserver.ensure_running()


def become(line: list[str], log: Path, before: Callable[[], None]) -> None:
    """Be `run_experiments.py` in this process."""
    os.chdir(ROOT)
    os.setpgid(0, 0)
    torch.set_num_threads(1)  # a fork of several threads may hang
    work_in_forks()
    before()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.argv = line
    sys.exit(run_experiments.main())


def work_in_forks() -> None:
    """Let `pool` fork its workers; like those it spawns, they hold no end of a pipe but theirs."""
    fork, pipes, pipe, serve = (
        multiprocessing.get_context("fork"),
        [],
        multiprocessing.Pipe,
        serving.serve,
    )

    def noted_pipe():
        pipes.append(pipe())
        return pipes[-1]

    def serve_alone(*args) -> None:
        for ours, _ in pipes:
            ours.close()
        serve(*args)

    fork.Pipe, serving.serve = noted_pipe, serve_alone
    multiprocessing.get_context = lambda kind: fork


# ---- What can be done to it before it begins -----------------------------------------------------


def together(*mishaps: Callable[[], None]) -> None:
    """Do several of these."""
    for mishap in mishaps:
        mishap()


def no_figures() -> None:
    """Write the tables only: figures take longer than all the rest."""
    report.rebuild = partial(report.rebuild, everything=False)


def die_writing(pattern: str, moment: str) -> None:
    """Kill the group while a file is written: when "half" is, "before" or "after" it is there.

    Args:
        pattern: of the file's path.
        moment: when.
    """
    fsync, names = os.fsync, {"replace": os.replace, "link": os.link}

    def half(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if path.suffix == ".tmp":  # .NAME.0123456789ab.tmp
            path = path.with_name(path.name[1:-17])
        if moment == "half" and path.match(pattern):
            os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
            os.killpg(0, signal.SIGKILL)
        fsync(descriptor)

    def whole(name: str, source, target) -> None:
        hit = Path(target).match(pattern)
        if hit and moment == "half":  # of a file that need not survive a power cut
            os.truncate(source, os.stat(source).st_size // 2)
        if hit and moment in ("half", "before"):
            os.killpg(0, signal.SIGKILL)
        names[name](source, target)
        if hit and moment == "after":
            os.killpg(0, signal.SIGKILL)

    os.fsync, os.replace, os.link = half, partial(whole, "replace"), partial(whole, "link")


def without_claims() -> None:
    """Work on every run, whoever else does: as where others' status files do not show."""
    claims._claim = lambda file: True


def slowly(seconds: float) -> None:
    """Let every training step and measurement take longer, and save what is measured at once."""
    step, measure = train.train_step, measuring.measure
    train.train_step = lambda *args: (time.sleep(seconds), step(*args))[1]
    measuring.measure = lambda *args, **more: (time.sleep(seconds), measure(*args, **more))[1]
    execute.SAVE_EVERY = 0.0


def signal_in_step(n: int, number: int, everybody: bool) -> None:
    """Have a worker signal its parent, or the group, in its n-th step, and wait to be told."""
    step, count = train.train_step, itertools.count(1)

    def signalling(*args):
        loss = step(*args)
        if next(count) == n:
            os.killpg(0, number) if everybody else os.kill(os.getppid(), number)
            while not serving.stopping():
                time.sleep(0.01)
        return loss

    train.train_step = signalling


def no_memory(regime: str) -> None:
    """Let the training of one regime find no memory."""
    import resource

    true = trained.train

    def starved(run, *args):
        if run.regime != regime:
            return true(run, *args)
        limits, hog = resource.getrlimit(resource.RLIMIT_AS), []
        resource.setrlimit(resource.RLIMIT_AS, (2**20, limits[1]))
        try:
            size = 2**24
            while size > 2**12:
                try:
                    hog.append(bytearray(size))
                except MemoryError:
                    size //= 2
            return true(run, *args)
        finally:
            hog.clear()
            resource.setrlimit(resource.RLIMIT_AS, limits)

    trained.train = starved


def in_slurm(scontrol: Path) -> None:
    """Be job 123 of Slurm, whose command is in a folder that comes first on the path."""
    os.environ["SLURM_JOB_ID"] = "123"
    os.environ["PATH"] = f"{scontrol.parent}:{os.environ['PATH']}"


# ---- What it has left ----------------------------------------------------------------------------


def outcome(home: Path) -> dict:
    """Return all that must not depend on what happened; check that each file is whole."""
    found = {}
    for path in (home / "ckpt").glob("*.pt"):
        found[path.name] = checkpoints.content_digest(checkpoints.load(path)["model"])
    for path in (home / "results" / "runs").glob("*.json"):
        record = records.load(path)
        del record["provenance"]
        found[path.name] = record
    for path in (home / "results").glob("s*.csv"):
        found[path.name] = path.read_bytes()
    for path in (*home.rglob("*.corrupt*"), *(home / "results" / "status").glob("*.json")):
        found[str(path.relative_to(home))] = "should not be here"
    return found
