"""Files that are whole or absent, whenever the process dies and whoever else writes."""

import contextlib
import errno
import os
import secrets
import stat
import time
from collections.abc import Iterator
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
    with beside(path, data, lasting) as temporary:
        os.replace(temporary, path)
    if lasting:
        sync_folder(path.parent)


def write_new(path: Path, data: bytes) -> bool:
    """Write `data` to `path` whole, unless something is there; return whether it was written.

    Of any number of processes that try, one succeeds: the name is made by a hard link, which fails
    where the name is taken, on network file systems too. Where there are no hard links (FAT, some
    network shares) a look has to do, with an instant in which two may both find nothing.

    Raises:
        OSError: if the file cannot be written.
    """
    with beside(path, data, lasting=True) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in WITHOUT_LINKS:
                raise
            if path.exists():
                return False
            os.replace(temporary, path)
    sync_folder(path.parent)
    return True


WITHOUT_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
"""What systems say that make no hard links."""


@contextlib.contextmanager
def beside(path: Path, data: bytes, lasting: bool) -> Iterator[Path]:
    """Write a temporary file in the folder of `path`; it is gone afterwards, whatever fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            if lasting:
                file.flush()
                os.fsync(file.fileno())
        yield temporary
    finally:
        with contextlib.suppress(
            OSError
        ):  # it became `path`, or the first error is the one to tell
            temporary.unlink()


def read_regular(path: Path) -> bytes:
    """Return the content of a file; what is none (a pipe, a device) is refused, never waited for.

    Raises:
        Foreign: if it is something else than a file or a folder.
        OSError: if it cannot be read.
    """
    # without waiting: to open a pipe would wait for somebody who writes to it
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        kind = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(kind):
            raise Foreign(f"{path}: not a regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


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


def set_aside(path: Path, why: str = "corrupt") -> Path:
    """Rename a damaged file to `<name>.corrupt` (numbered if taken) and return the new path."""
    for n in range(1000):
        target = path.with_name(f"{path.name}.{why}{n or ''}")
        if not target.exists():
            with contextlib.suppress(FileNotFoundError):  # another process was faster
                os.replace(path, target)
            return target
    raise OSError(f"{path}: too many .{why} files beside it")


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
