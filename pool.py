"""Jobs side by side in worker processes that may die without taking the others along.

(`concurrent.futures` gives up the whole pool when one worker is killed.)
"""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection, wait

Work = Callable[..., None]
"""A picklable function of (job, tell); tell(kind, **facts) reports progress."""


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
            kinds "started", "done" and "failed" (facts: reason).
        setup: called once in each new worker; picklable.

    Returns:
        The failed jobs and why each failed; the others are done.

    No worker outlives this call, whatever ends it; a worker also ends when its parent is gone.
    """
    waiting = list(jobs)[::-1]
    failed: dict = {}
    context = multiprocessing.get_context("spawn")
    busy: dict[Connection, tuple[multiprocessing.process.BaseProcess, object]] = {}

    def start_worker() -> tuple:
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, work, setup), daemon=True)
        process.start()
        theirs.close()  # so that a dead worker shows as the end of the pipe
        return process, ours

    def give(process, connection) -> None:
        job = waiting.pop()
        busy[connection] = (process, job)
        on_event(job, "started", {})
        with contextlib.suppress(OSError):  # dead already: the end of the pipe is seen below
            connection.send(job)

    def fail(job, reason: str) -> None:
        failed[job] = reason
        on_event(job, "failed", {"reason": reason})

    idle: list[tuple] = []
    try:
        for _ in range(min(workers, len(waiting))):
            give(*start_worker())
        while busy:
            for connection in wait(list(busy)):
                process, job = busy[connection]
                try:
                    kind, facts = connection.recv()
                except (EOFError, OSError):
                    del busy[connection]
                    connection.close()
                    process.join()
                    fail(job, _cause_of_death(process.exitcode))
                    if waiting:
                        give(*start_worker())
                    continue
                if kind == "failed":
                    fail(job, facts["reason"])
                else:
                    on_event(job, kind, facts)
                if kind in ("done", "failed"):
                    del busy[connection]
                    if waiting:
                        give(process, connection)
                    else:
                        idle.append((process, connection))
    finally:
        for process, connection in [*idle, *((p, c) for c, (p, _) in busy.items())]:
            process.terminate()
            connection.close()
            process.join()
    return failed


def _cause_of_death(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return f"its worker was killed by {name}{hint}"
    return f"its worker ended with status {code}"


def _serve(connection: Connection, work: Work, setup: Callable[[], None] | None) -> None:
    """Be a worker: take jobs from the connection until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if setup is not None:
        setup()
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        try:
            work(job, lambda kind, **facts: connection.send((kind, facts)))
            connection.send(("done", {}))
        except Exception as error:  # the run failed; this worker can take the next one
            connection.send(("failed", {"reason": f"{type(error).__name__}: {error}"}))


def _end_with_parent() -> None:
    """End this process when its parent dies, so that no worker is orphaned."""
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)
