"""Signals: end as Ctrl-C does, and put a Slurm job back in the queue before its time is over."""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time

from runner.pool import GRACE

REQUEUES = getattr(signal, "SIGUSR2", None)  # not on Windows
HANGS_UP = getattr(signal, "SIGHUP", None)  # the terminal or connection is gone; not on Windows
SIGNALS = [n for n in (signal.SIGINT, signal.SIGTERM, HANGS_UP, REQUEUES) if n]


class Requeue(KeyboardInterrupt):
    """Slurm says that the time is nearly over: save, and put the job back in the queue."""


def watch_signals() -> None:
    """Let SIGTERM and SIGHUP end the program as Ctrl-C does, and SIGUSR2 requeue its Slurm job."""
    deaf_until = 0.0

    def interrupt(number: int, _) -> None:
        nonlocal deaf_until
        if time.monotonic() < deaf_until:  # a second one would cut the saving short
            return
        deaf_until = time.monotonic() + 2 * GRACE
        with contextlib.suppress(OSError):  # the terminal may be gone
            os.write(sys.stderr.fileno(), b"\nStopping, when what was done is saved\n")
        in_slurm = number == REQUEUES and "SLURM_JOB_ID" in os.environ
        raise Requeue if in_slurm else KeyboardInterrupt

    for number in SIGNALS:
        if (
            signal.getsignal(number) != signal.SIG_IGN
        ):  # as in the background of a shell, or under nohup
            signal.signal(number, interrupt)


def requeue(job: str) -> int:
    """Put a Slurm job back in the queue; return the exit status."""
    try:
        subprocess.run(["scontrol", "requeue", job], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"It is not: {error}. {how_to_go_on()}", file=sys.stderr)
        return 130
    return 0


def how_to_go_on() -> str:
    """Return the command that continues this one, in words."""
    return f"To go on: python {shlex.join(sys.argv)}"
