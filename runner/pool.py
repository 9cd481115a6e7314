"""Jobs side by side in worker processes that may die or hang without taking the others along.

(`concurrent.futures` gives up the whole pool when one worker is killed.)
"""

import collections
import contextlib
import functools
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import wait

from runner import serving
from runner.events import Kind
from runner.serving import OURS, Work

GRACE = 30.0  # seconds that a worker has to save when everything is to stop
PAUSE = 3.0  # seconds before a job that asked to be done later is tried again
HANGS = 600.0  # seconds without one after which a worker is ended: no step takes as long
TRIES = 3  # of a job whose workers end or hang, one after the other, without an answer


def run_jobs(
    jobs: Iterable,
    work: Work,
    workers: int,
    on_event: Callable[[object, str, dict], None],
    setup: Callable[[], None] | None = None,
) -> dict:
    """Do every job in one of `workers` processes, in the order given.

    Args:
        jobs: picklable and hashable.
        work: what to do with a job, in a worker.
        workers: number of processes.
        on_event: called here with (job, kind, facts) for all that a worker tells, and when a job is
            `Kind.STARTED`, `DONE`, `FAILED` or put off until `LATER`.
        setup: called once in each new worker; picklable.

    Returns:
        The failed jobs and why each failed; the others are done.

    No worker outlives this call, whatever ends it; a worker also ends when its parent is gone. One
    that gives no sign of life for `HANGS` seconds is ended. A job that lost `TRIES` workers in
    this way, or by their ending in peace without an answer, has failed.
    """
    pool = _Pool(jobs, work, workers, on_event, setup)
    try:
        while pool.waiting or pool.busy:
            pool.give_out()
            pool.listen()
    finally:
        pool.end()
    return pool.failed


class _Worker:
    """A process that does one job after another, and our end of the pipe to it."""

    def __init__(self, work: Work, setup: Callable[[], None] | None):
        context = multiprocessing.get_context("spawn")
        self.silent = 0.0  # seconds without a message, while its parent was awake
        self.connection, theirs = context.Pipe()
        self.process = context.Process(
            target=serving.serve, args=(theirs, work, setup), daemon=True
        )
        self.process.start()
        theirs.close()  # so that a dead worker shows as the end of the pipe

    def hear(self) -> tuple[str, dict]:
        """Return the next message (kind, facts).

        Raises:
            _Lost: if it has ended instead.
        """
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self.process.join(GRACE)
            self.kill()  # it may hang while it ends
            raise _Lost(_cause_of_death(self.process.exitcode)) from None

    def kill(self) -> None:
        """End it now, if it has not ended yet."""
        self.process.kill()
        self.process.join(GRACE)  # the system may keep one that waits for a disk


class _Lost(Exception):
    """A worker has ended, or was ended, without an answer; the message says why."""


class _Pool:
    """Where each job and each worker of `run_jobs` is; a job that is nowhere is done."""

    def __init__(self, jobs: Iterable, work: Work, workers: int, on_event, setup):
        self.waiting = [(0.0, job) for job in jobs]  # each with the time before which it must wait
        self.busy: dict[_Worker, object] = {}  # each with its job
        self.idle: list[_Worker] = []
        self.failed: dict = {}  # the jobs, each with the reason
        self.lost = collections.Counter()  # how many workers each job has lost in peace
        self.workers, self.on_event = workers, on_event
        self.hire = functools.partial(_Worker, work, setup)

    def give_out(self) -> None:
        """Give each free worker the first job that need not wait any longer."""
        self.idle = [worker for worker in self.idle if worker.process.is_alive()]
        ready = [entry for entry in self.waiting if entry[0] <= time.monotonic()]
        for entry in ready[: self.workers - len(self.busy)]:
            if not self.idle:
                with _deaf():
                    self.idle.append(self.hire())
            _, job = entry
            self.waiting.remove(entry)
            worker = self.idle.pop()
            self.busy[worker], worker.silent = job, 0.0
            self.on_event(job, Kind.STARTED, {})
            with contextlib.suppress(OSError):  # dead already: its pipe's end is heard
                worker.connection.send(job)

    def listen(self) -> None:
        """Wait for workers to say something, or for a job to have waited; take one message each."""
        before = time.monotonic()
        heard = wait(
            [worker.connection for worker in self.busy], PAUSE if self.waiting else serving.BEAT
        )
        # This process may have been suspended itself, which is no silence of theirs.
        awake = min(time.monotonic() - before, 2 * serving.BEAT)
        for worker in [*self.busy]:
            said = worker.connection in heard
            worker.silent = 0.0 if said else worker.silent + awake
            if said or worker.silent > HANGS:
                self.take_message(worker, self.busy[worker])

    def take_message(self, worker: "_Worker", job) -> None:
        """Take what a worker says, or end it if it hangs."""
        try:
            if worker.silent:
                worker.kill()
                raise _Lost(f"its worker gave no sign of life for {HANGS / 60:g} minutes")
            kind, facts = worker.hear()
        except _Lost as loss:
            kind, facts = self.count_loss(worker, job), {"reason": str(loss)}
        if kind == Kind.BEAT:
            return
        if kind in (Kind.DONE, Kind.FAILED, Kind.LATER):
            del self.busy[worker]
            self.idle.append(worker)
        if kind == Kind.FAILED:
            self.failed[job] = facts["reason"]
        elif kind == Kind.LATER:
            self.waiting.append((time.monotonic() + PAUSE, job))
        self.on_event(job, kind, facts)

    def count_loss(self, worker: "_Worker", job) -> str:
        """Return what becomes of a job whose worker is lost: another takes it over, unless this one
        died of it, or too many were lost."""
        self.lost[job] += 1
        died = not worker.silent and worker.process.exitcode
        return Kind.FAILED if died or self.lost[job] >= TRIES else Kind.LATER

    def end(self) -> None:
        """End all workers, within `GRACE`; a job that fails instead of saving is told."""
        workers = [*self.idle, *self.busy]
        deadline = time.monotonic() + GRACE
        for worker in workers:
            worker.process.terminate()  # a busy one saves and ends; an idle one sees its pipe end
        try:
            self.hear_failures(deadline)
        finally:
            for worker in workers:
                worker.connection.close()
            for worker in workers:
                worker.process.join(max(0.0, deadline - time.monotonic()))
                worker.kill()

    def hear_failures(self, deadline: float) -> None:
        """Listen to the busy workers until each has answered or is gone; tell of what failed."""
        talking = {worker.connection: job for worker, job in self.busy.items()}
        while talking and (heard := wait(list(talking), max(0.0, deadline - time.monotonic()))):
            for connection in heard:
                try:
                    kind, facts = connection.recv()
                except (EOFError, OSError):
                    del talking[connection]
                    continue
                if kind in (Kind.DONE, Kind.FAILED, Kind.LATER):
                    job = talking.pop(connection)
                    if kind == Kind.FAILED:
                        self.failed[job] = facts["reason"]
                        self.on_event(job, kind, facts)


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Start a process so that `OURS` cannot end it before it ignores them; here they wait."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # else it starts below, and lifts the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, OURS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _cause_of_death(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return f"its worker was killed by {name}{hint}"
    return f"its worker ended with status {code}" if code else "its worker ended without an answer"
