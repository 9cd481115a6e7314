"""Who works on which run, and what became of it: small files that any machine can read.

`results/status/<run_id>.json` is there while a worker works on a run, and stays where it failed:
its parent, which hears of every failure and of killed workers, then writes why. It is a hint and
never a lock: it spares a second process the same work, and tells `--status` what is going on.
Results do not depend on it; a file left by a dead process is ignored, and so is one whose beats,
which are counted in it and come from the work itself, have ended.
"""

import contextlib
import itertools
import json
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from config import Run
from runner import serving
from store.files import write_whole

STALE = 60.0  # seconds without a sign of life after which nobody is believed to be at work

_watched: dict[Path, tuple[object, float]] = {}
"""Of the files of others: what was last seen there, and since when, by the monotonic clock."""


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
    """Return a status with `heard` (seconds since the last sign of life) and `alive`, or None.

    At one glance, and by this machine's clock: a time that is much in the future is not believed.
    """
    try:
        content, written = look(file)
        facts = understand(content)
    except OSError:
        return None
    if facts is None:  # not ours: nobody is at work
        return None
    heard = time.time() - written
    alive = may_be_at_work(facts) and abs(heard) < STALE
    return {**facts, "heard": max(0.0, heard), "alive": alive}


def look(file: Path) -> tuple[bytes, float]:
    """Return the content of a regular file and its time; OSError if there is none.

    Nothing is waited for: to open a pipe would wait for somebody who writes to it.
    """
    descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise OSError(f"{file}: not a regular file")
        with open(descriptor, "rb", closefd=False) as opened:
            return opened.read(), facts.st_mtime
    finally:
        os.close(descriptor)


def understand(content: bytes) -> dict | None:
    """Return the facts of a status file; None if it is not one."""
    try:
        facts = json.loads(content)
        known = all(isinstance(facts[name], str) for name in ("state", "machine"))
        counts = [facts.get(name, 0) for name in ("epoch", "done", "of")]
        whole = type(facts["pid"]) is int and all(type(count) is int for count in counts)
        told = "of" in facts or not {"epoch", "done"} & facts.keys()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return facts if known and whole and told else None


def may_be_at_work(facts: dict) -> bool:
    """Return whether the process that wrote a status may be there still."""
    if facts["state"] in ("failed", "stopped"):
        return False
    return facts["machine"] != machine_id() or is_running(facts["pid"])


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
            return not _is_taken(file)
    return True


def _is_taken(file: Path) -> bool:
    """Return whether a living process has the file.

    Each of its beats changes the file. Whoever watches it sees that, by a clock of his own: neither
    another machine's clock nor a time in the future makes him wait for longer than `STALE`.
    """
    try:
        content, written = look(file)
        facts = understand(content)
    except OSError:  # gone, or a pipe, say
        content, written, facts = b"", None, None
    if facts and not may_be_at_work(facts):
        return False
    patience = STALE if facts else serving.BEAT  # it may be made this moment and not yet written
    if written is not None and _now(file.parent) - written > patience:
        return False
    before, since = _watched.get(file, (None, 0.0))
    if before != (content, written):
        _watched[file] = (content, written), time.monotonic()
        return True
    return time.monotonic() - since < patience


def _now(folder: Path) -> float:
    """Return the time by the clock of the folder's machine, which may be a server's."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".clock") as file:
            return os.fstat(file.fileno()).st_mtime
    except OSError:
        return time.time()


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
    beats, now = itertools.count(1), {"state": "starting"}

    def tell(state: str, **facts) -> None:
        nonlocal now
        now = {"state": state, **facts}
        beat()

    def beat() -> None:
        write(file, beat=next(beats), **now)

    beat()
    try:
        with serving.signs_of_life(beat):
            yield tell
    except stopped as error:
        write(file, "stopped", reason=str(error))
        raise
    else:
        clear(results, run)
