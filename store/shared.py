"""A file that any number of processes and machines may add to at once: the end is the union.

No lock is trusted: on shared folders they are advisory, missing, or lost with the server, and one
whose holder was killed stands in the way. Instead, a writer

1. lays what it adds down as a *part*: a file of its own, under a name that nobody else uses, in a
   folder beside; while that is there, the writer is announced;
2. looks at every part and then at the file, writes the union of them whole, and looks again, until
   the file is the union of all that it sees;
3. takes its part away if nobody else was announced when it last looked. Otherwise it marks the part
   as ended; whoever has ended and finds only ended ones takes them all away.

Nothing is lost: a writer that overwrites the file with less looked at it before the other's part
was there, was therefore announced before that, and is so until it has looked again; the part stays
as long, and is found. That asks of the file system only that a file which was made before a folder
is read is seen in it, by one that has just made a file there itself; NFS keeps that, too, for to
make a file renews what it knows of the folder. The file is made for the first time by a hard link,
so that of writers that contradict each other one is the first.

A reader takes the union of the file and the parts, the parts first: whatever is taken away
meanwhile is in the file. What a killed writer has left is read, and goes into the file with the
next writer; it may be taken away after a day.
"""

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from store.files import LEFTOVER_AGE, Foreign, read_regular, write_new, write_whole

PATIENCE = 3600.0
"""Seconds after which a writer that was stopped, or slept with its machine, looks anew."""
ENDED = ".ended"
"""Ending of the empty file that stands beside the part of a writer that has ended."""


@dataclass(frozen=True)
class Part:
    """What one writer adds."""

    name: str
    kind: str
    """What is to be done with it, in a word."""
    data: bytes
    ended: bool
    """Whether its writer will not write any more."""


@dataclass(frozen=True)
class View:
    """A shared file and the parts that may not be in it, as they were found."""

    whole: bytes | None
    """The file's content; None if it is not there."""
    parts: tuple[Part, ...]
    """In the order in which they were begun, as far as their writers knew of each other."""


Fold = Callable[[View], bytes]
"""Returns the union of a view; just the file's bytes where the parts add nothing."""


def look(path: Path, folder: Path) -> View:
    """Return a shared file with its parts, which are in `folder`.

    Raises:
        files.Foreign, OSError: if the file is no regular one, or cannot be read.
    """
    found = of_file(path, folder)
    marked = {name.removesuffix(ENDED) for name in found if name.endswith(ENDED)}
    parts = []
    # The last one first, for `remove` begins with the first: what is missed is then never later
    # than what is seen, and a change that is in the file by now is not undone by an older one.
    for name in reversed(found):
        if name.endswith(path.suffix):
            with contextlib.suppress(FileNotFoundError, IsADirectoryError, Foreign):
                data = read_regular(folder / name)
                ended = name in marked or is_old(folder / name)
                parts.append(Part(name, name.split(".")[-2], data, ended))
    parts.reverse()
    try:
        return View(read_regular(path), tuple(parts))
    except FileNotFoundError:
        return View(None, tuple(parts))


def of_file(path: Path, folder: Path) -> list[str]:
    """Return the names of a file's parts and of their marks, in the order of the parts."""
    return sorted(name for name in names_in(folder) if stem_of(name) == path.stem)


def names_in(folder: Path) -> list[str]:
    """Return the names in a folder; [] if there is none."""
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def stem_of(name: str) -> str:
    """Return the stem of the file that a part, or its mark, belongs to; "" for another name."""
    stem, *rest = name.removesuffix(ENDED).rsplit(".", 3)
    return stem if len(rest) == 3 else ""


def stems(folder: Path) -> set[str]:
    """Return the stems of all files that have parts in a folder."""
    return {stem_of(name) for name in names_in(folder) if name.endswith(".json")}


def is_old(part: Path) -> bool:
    """Return whether a part can have no living writer."""
    return time.time() - part.stat().st_mtime > LEFTOVER_AGE


def add(path: Path, folder: Path, kind: str, data: bytes, fold: Fold, absorb: bool) -> None:
    """Add to a shared file; when this returns, it is in it, whatever others write to it.

    Args:
        path, folder: the file and where its parts are.
        kind, data: what is added: see `Part`.
        fold: returns the union of a view; what it raises ends this, and nothing of `data` is left.
        absorb: whether a whole file is itself something that can be added. The part then holds the
            union with all that ended writers have left, and those parts go.

    Raises:
        OSError: if it cannot be written.
    """
    view = look(path, folder)
    whole = fold(View(view.whole, (*view.parts, Part("", kind, data, ended=False))))
    if whole == view.whole and not view.parts:
        return
    part = announce(path, folder, kind, whole if absorb else data)
    try:
        if absorb:
            remove(folder, [old.name for old in view.parts if old.ended and old.kind == kind])
        known = None if view.parts else (view.whole, 1, whole)  # with this part alone
        view = bring_in(path, folder, fold, known)
        if all(other.ended for other in view.parts if other.name != part):
            remove(folder, [other.name for other in view.parts])
        else:
            (folder / f"{part}{ENDED}").touch()
        tidy(path, folder, fold)
    except BaseException:
        remove(folder, [part])
        raise


def leave(path: Path, folder: Path, kind: str, data: bytes) -> None:
    """Leave something to whoever adds to a shared file next: cheap, and read as part of it at once.

    Raises:
        OSError: if it cannot be written.
    """
    part = announce(path, folder, kind, data)
    (folder / f"{part}{ENDED}").touch()


def tidy(path: Path, folder: Path, fold: Fold) -> None:
    """Take the parts away, if they are in the file and nobody is at work."""
    if of_file(path, folder):
        view = look(path, folder)
        if all(part.ended for part in view.parts) and fold(view) == view.whole:
            remove(folder, [part.name for part in view.parts])


def announce(path: Path, folder: Path, kind: str, data: bytes) -> str:
    """Lay down a part after those that are there; return its name."""
    orders = [name[len(path.stem) + 1 :][:6] for name in of_file(path, folder)]
    order = 1 + max((int(found) for found in orders if found.isdecimal()), default=0)
    name = f"{path.stem}.{order:06d}-{secrets.token_hex(6)}.{kind}{path.suffix}"
    for attempt in range(100):
        try:
            write_whole(folder / name, data, lasting=False)  # the file itself is, in a moment
            return name
        except FileNotFoundError:  # another writer has just removed the empty folder
            if attempt == 99:
                raise


def bring_in(path: Path, folder: Path, fold: Fold, known: tuple | None) -> View:
    """Write the union until the file is that; return what was seen then.

    `known` spares the first union: a file's content, the number of parts, and their union.
    """
    written, seen = None, ()
    while True:
        began = time.time()
        view = look(path, folder)
        names = [part.name for part in view.parts]
        if written is not None and view.whole == written and names == seen:
            return view
        same = known is not None and (view.whole, len(names)) == known[:2]
        whole = known[2] if same else fold(view)
        if whole == view.whole:
            return view
        if time.time() - began > PATIENCE:
            continue
        if view.whole is not None:
            write_whole(path, whole)
        elif not write_new(path, whole):
            continue
        written, seen = whole, names


def remove(folder: Path, parts: Iterable[str]) -> None:
    """Take parts away, in the order given, which is theirs: see `look`."""
    for name in parts:
        for file in (folder / name, folder / f"{name}{ENDED}"):
            with contextlib.suppress(OSError):  # another process was faster
                file.unlink()


def clear(folder: Path) -> None:
    """Take a folder of parts away if it is empty. With each part that would take too long."""
    with contextlib.suppress(OSError):  # there is none, or it is not empty
        folder.rmdir()
