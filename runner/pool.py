"""Jobs side by side in worker processes that may die without taking the others along.

(`concurrent.futures` gives up the whole pool when one worker is killed.)
"""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait

Work = Callable[..., None]
"""A picklable function of (job, tell); tell(kind, **facts) reports progress."""


GRACE = 30.0  # seconds that a worker has to save when everything is to stop
PAUSE = 3.0  # seconds before a job that asked to be done later is tried again

OURS = [s for s in (signal.SIGINT, getattr(signal, "SIGUSR2", None)) if s]
"""Signals that a terminal or Slurm sends to every process, and that the parent alone handles."""

_stop = threading.Event()  # in a worker: set when it is asked to stop


def stopping() -> bool:
    """Tell work, in a worker, whether to save what it has and end."""
    return _stop.is_set()


class Later(Exception):
    """Raised by work that cannot be done now, but should be tried again after the others."""


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
        on_event: called here with (job, kind, facts) for all that a worker tells, and with the
            kinds "started", "done", "failed" and "later" (facts: reason).
        setup: called once in each new worker; picklable.

    Returns:
        The failed jobs and why each failed; the others are done.

    No worker outlives this call, whatever ends it; a worker also ends when its parent is gone.
    """
    waiting = [(0.0, job) for job in jobs]  # each with the time before which it must wait
    failed: dict = {}
    context = multiprocessing.get_context("spawn")
    busy: dict[Connection, tuple[multiprocessing.process.BaseProcess, object]] = {}
    idle: list[tuple[multiprocessing.process.BaseProcess, Connection]] = []

    def start_worker() -> tuple[multiprocessing.process.BaseProcess, Connection]:
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, work, setup), daemon=True)
        with _deaf():
            process.start()
        theirs.close()  # so that a dead worker shows as the end of the pipe
        return process, ours

    def give_out() -> None:
        """Give each free worker the first job that need not wait any longer."""
        idle[:] = [worker for worker in idle if worker[0].is_alive()]
        for entry in list(waiting):
            if len(busy) == workers:
                return
            ready, job = entry
            if ready <= time.monotonic():
                waiting.remove(entry)
                process, connection = idle.pop() if idle else start_worker()
                busy[connection] = (process, job)
                on_event(job, "started", {})
                with contextlib.suppress(OSError):  # dead already: its pipe's end is seen below
                    connection.send(job)

    def hear(connection: Connection) -> None:
        """Take one message from a worker, or note its death."""
        process, job = busy[connection]
        try:
            kind, facts = connection.recv()
        except (EOFError, OSError):
            connection.close()
            process.join()
            # It ends in peace only when it alone was asked to: another worker takes over.
            kind = "failed" if process.exitcode else "later"
            facts = {"reason": _cause_of_death(process.exitcode)}
        if kind in ("done", "failed", "later"):
            del busy[connection]
            if not connection.closed:
                idle.append((process, connection))
        if kind == "failed":
            failed[job] = facts["reason"]
        elif kind == "later":
            waiting.append((time.monotonic() + PAUSE, job))
        on_event(job, kind, facts)

    try:
        while waiting or busy:
            give_out()
            for connection in wait(list(busy), PAUSE if waiting else None):
                hear(connection)
    finally:
        workers_left = [*idle, *((process, c) for c, (process, _) in busy.items())]
        for process, connection in workers_left:
            process.terminate()  # a busy worker saves and ends; an idle one sees its pipe end
            connection.close()
        deadline = time.monotonic() + GRACE
        for process, _ in workers_left:
            process.join(max(0.0, deadline - time.monotonic()))
            process.kill()
            process.join()
    return failed


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
    return f"its worker ended with status {code}" if code else "its worker was asked to end"


def _serve(connection: Connection, work: Work, setup: Callable[[], None] | None) -> None:
    """Be a worker: take jobs from the connection until it ends."""
    for number in OURS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: _stop.set())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if setup is not None:
        setup()

    def tell(kind: str, **facts) -> None:
        with contextlib.suppress(OSError):  # the parent hung up: go on to save
            connection.send((kind, facts))

    with contextlib.suppress(EOFError, OSError):
        while not stopping():
            job = connection.recv()
            try:
                work(job, tell)
                answer = ("done", {})
            except Later as error:
                answer = ("later", {"reason": str(error)})
            except Exception as error:  # the job failed; this worker can take the next one
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                answer = ("failed", {"reason": reason})
            connection.send(answer)


def _end_with_parent() -> None:
    """End this process when its parent dies, so that no worker is orphaned."""
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)
