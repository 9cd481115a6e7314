"""Who works on which run, and what became of it: small files that any machine can read.

`results/status/<run_id>.json` is there while a worker works on a run, and stays where it failed:
its parent, which hears of every failure and of killed workers, then writes why. It is a hint and
never a lock: it spares a second process the same work, and tells `--status` what is going on.
Results do not depend on it; a file left by a dead process is ignored.
"""

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from config import Run
from store.files import write_whole

BEAT = 10.0  # seconds between signs of life
STALE = 60.0  # seconds without one after which nobody is believed to be at work


class Busy(Exception):
    """Another process is at work on this run."""


def path(results: Path, run: Run) -> Path:
    """Return where the status of `run` is kept."""
    return results / "status" / f"{run.run_id}.json"


def machine_id() -> str:
    """Return what tells this machine, since its last start, from others; not its name."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"


def read(file: Path) -> dict | None:
    """Return a status with `heard` (seconds since the last sign of life) and `alive`, or None."""
    try:
        facts = json.loads(file.read_bytes())
        heard = max(0.0, time.time() - file.stat().st_mtime)
        alive = facts["state"] not in ("failed", "stopped") and heard < STALE
        if alive and facts["machine"] == machine_id():
            alive = is_running(int(facts["pid"]))
        return {**facts, "heard": heard, "alive": alive}
    except (OSError, ValueError, TypeError, KeyError):
        return None  # absent, or not ours: nobody is at work


def is_running(pid: int) -> bool:
    """Return whether a process of this machine runs; True where that cannot be known."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return not Path("/proc/self").exists()
    return state not in "ZX"  # Z: dead, and its parent has not asked after it yet


def content(state: str, **facts) -> bytes:
    """Return the content of a status file."""
    who = {"state": state, "pid": os.getpid(), "machine": machine_id()}
    return (json.dumps({**who, **facts}) + "\n").encode()


def write(file: Path, state: str, **facts) -> None:
    """Write a status; a folder that cannot be written is no reason to stop the work."""
    with contextlib.suppress(OSError):
        write_whole(file, content(state, **facts), lasting=False)  # a hint: see above


def fail(results: Path, run: Run, reason: str) -> None:
    """Note that a run failed, and why."""
    write(path(results, run), "failed", reason=reason)


def clear(results: Path, run: Run) -> None:
    """Remove what a process left that was killed when it had just completed the run."""
    with contextlib.suppress(OSError):
        path(results, run).unlink()


def _claim(file: Path) -> bool:
    """Make the file, or tell that a living process has it."""
    with contextlib.suppress(OSError):  # a folder that cannot be written: go on without
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(file, "xb") as new:
                new.write(content("starting"))
        except FileExistsError:
            there = read(file)
            if there is None:  # made this moment and not yet written, or damaged
                return time.time() - file.stat().st_mtime > BEAT
            return not there["alive"]
    return True


@contextlib.contextmanager
def working(results: Path, run: Run, stopped: type[Exception]) -> Iterator[Callable[..., None]]:
    """Within this context others see that this process is at work on `run`.

    Another exception than `stopped` changes nothing here: the parent calls `fail`.

    Args:
        results: the results folder.
        run: what is worked on.
        stopped: the exception that means stopping on request, which is no failure.

    Yields:
        A function to tell the state, such as `tell("training", epoch=2, of=4)`.

    Raises:
        Busy: if another living process is at work on it.
    """
    file = path(results, run)
    if not _claim(file):
        raise Busy(f"another process is at work on {run.run_id}")
    write(file, "starting")
    finished = threading.Event()

    def beat() -> None:
        while not finished.wait(BEAT):
            with contextlib.suppress(OSError):
                os.utime(file)

    threading.Thread(target=beat, daemon=True).start()
    try:
        yield lambda state, **facts: write(file, state, **facts)
    except stopped as error:
        write(file, "stopped", reason=str(error))
        raise
    else:
        clear(results, run)
    finally:
        finished.set()
