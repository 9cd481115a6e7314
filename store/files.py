"""Files that are whole or absent, whenever the process dies and whoever else writes."""

import contextlib
import os
import secrets
import time
from pathlib import Path

LEFTOVER_AGE = 24 * 3600.0
"""Seconds after which a temporary file can have no living writer."""


class Damaged(ValueError):
    """A file of ours that is truncated, bit-flipped or edited: set aside and redone."""


class Foreign(ValueError):
    """A file that is not ours, or of another format version: never touched."""


def write_whole(path: Path, data: bytes, lasting: bool = True) -> None:
    """Write `data` to `path` so that a reader sees the old file or the new one, never a part.

    The temporary file has a name of its own, in the same folder, so that any number of processes
    and machines can write the same path: the last whole file wins.

    Args:
        path, data: what to write, and where.
        lasting: whether it must survive a power cut, which costs two waits for the disk.

    Raises:
        OSError: if the file cannot be written (a full disk, a read-only folder); `path` is then
            as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            if lasting:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):  # the first error is the one to tell
            temporary.unlink()
        raise
    if lasting:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut, where the system can do so."""
    if os.name == "nt":  # Windows cannot open a folder
        return
    with contextlib.suppress(OSError):  # some file systems refuse; the rename itself is done
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def set_aside(path: Path) -> Path:
    """Rename a damaged file to `<name>.corrupt` (numbered if taken) and return the new path."""
    for n in range(1000):
        target = path.with_name(path.name + (f".corrupt{n}" if n else ".corrupt"))
        if not target.exists():
            with contextlib.suppress(FileNotFoundError):  # another process was faster
                os.replace(path, target)
            return target
    raise OSError(f"{path}: too many .corrupt files beside it")


def clear_leftovers(folder: Path, age: float = LEFTOVER_AGE) -> int:
    """Delete `write_whole`'s temporary files older than `age` seconds; return how many."""
    swept = 0
    for path in folder.glob(f".*.{'[0-9a-f]' * 12}.tmp"):
        try:
            if time.time() - path.stat().st_mtime > age:
                path.unlink()
                swept += 1
        except OSError:  # gone already, or not ours to delete
            continue
    return swept
