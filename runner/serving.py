"""A worker: it takes jobs from a pipe, tells how they go, and ends when it is told to."""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait

from machine import memory
from runner.events import Kind

Work = Callable[..., None]
"""A picklable function of (job, tell); tell(kind, **facts) reports progress."""

BEAT = 10.0  # seconds between the signs of life that work gives

OURS = [getattr(signal, n) for n in ("SIGINT", "SIGHUP", "SIGUSR2") if hasattr(signal, n)]
"""Signals that a terminal or Slurm sends to every process, and that the parent alone handles."""

_stop = threading.Event()  # in a worker: set when it is asked to stop
_signs: list[Callable[[], None]] = []  # in a worker: what passes its signs of life on
_due = 0.0  # by the monotonic clock, when the next one is


def stopping() -> bool:
    """Tell work, in a worker, whether to save what it has and end.

    Work asks after each step, and so shows that it does not hang: every `BEAT` seconds that is
    passed on. No thread does it, which would live on where the work hangs.
    """
    global _due
    now = time.monotonic()
    if now >= _due:
        _due = now + BEAT
        for sign in [*_signs]:
            sign()
    return _stop.is_set()


@contextlib.contextmanager
def signs_of_life(sign: Callable[[], None]) -> Iterator[None]:
    """Within this context `sign` is called every `BEAT` seconds, as long as the work goes on."""
    _signs.append(sign)
    try:
        yield
    finally:
        _signs.remove(sign)


class Later(Exception):
    """Raised by work that cannot be done now, but should be tried again after the others."""


def serve(connection: Connection, work: Work, setup: Callable[[], None] | None) -> None:
    """Be a worker: take jobs from the connection until it ends."""
    for number in OURS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: _stop.set())
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def tell(kind: str, **facts) -> None:
        with contextlib.suppress(OSError):  # the parent hung up: go on to save
            connection.send((kind, facts))

    broken = None
    try:
        if setup is not None:
            setup()
    except Exception as error:  # each job is told why this worker can do none
        broken = error
    with contextlib.suppress(EOFError, OSError), signs_of_life(lambda: tell(Kind.BEAT)):
        while not _stop.is_set():
            job = connection.recv()
            try:
                if broken:
                    raise broken
                work(job, tell)
                answer = (Kind.DONE, {})
            except Later as error:
                answer = (Kind.LATER, {"reason": str(error)})
            except Exception as error:  # the job failed; this worker can take the next one
                answer = (Kind.FAILED, {"reason": memory.say(error)})
            connection.send(answer)


def _end_with_parent() -> None:
    """End this process when its parent dies, so that no worker is orphaned."""
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)
