"""Folders of images by class: `train/CLASS/IMAGE` and `test/CLASS/IMAGE`.

What a folder holds is known by its content: `folder:NAME@DIGEST`, with the folder's name and the
first 8 hexadecimal digits of the SHA-256 of all pixels and labels. That name stands in the identity
of runs; where the folder lies does not, nor what its files are called. Images are decoded once, and
kept in the data folder under that name: any process finds them there, on another machine too.
"""

import functools
import hashlib
import io
import json
import os
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from config import Shape
from sources.images import read_images
from sources.spec import Arrays, DataError, DatasetSpec
from store.files import write_whole

PREFIX = "folder:"
PARTS = ("train", "test")
IGNORED = ("Thumbs.db", "desktop.ini")  # and hidden files: what file managers leave behind
ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


class Entry(NamedTuple):
    """A file of an image folder, and what shows that it has changed."""

    part: str
    kind: str
    """Name of its class."""
    path: str
    size: int
    time: int


@dataclass(frozen=True, kw_only=True)
class FolderSpec(DatasetSpec):
    """A dataset of images in folders by class."""

    digest: str
    folder: Path | None = None
    """Where the images are; None where only those kept in the data folder are known."""

    def read(self, name: str, data_dir: Path, known: Mapping[str, DatasetSpec]) -> Arrays:
        """Return what is kept in the data folder; it is kept there first, where it is not yet."""
        path = kept_path(name, data_dir)
        if not path.exists() and self.folder is not None:
            arrays, _ = decode(self.folder, listing(self.folder))
            self._check(name, arrays)
            keep(path, arrays, self)
            print(f"{name}: read from {self.folder}, kept as {path}", flush=True)
            return arrays
        try:
            with np.load(path) as held:
                arrays = tuple(held[key] for key in ARRAYS)
        except DAMAGED as error:
            raise damaged(path, error) from None
        self._check(str(path), arrays)
        return arrays

    def _check(self, where: str, arrays: Arrays) -> None:
        if digest_of(arrays, self.shape.classes) != self.digest:
            raise DataError(f"{where}: its images are not those of {self.digest}: it was changed")


DAMAGED = (OSError, ValueError, KeyError, EOFError, TypeError, zlib.error, zipfile.BadZipFile)


def damaged(path: Path, error: Exception) -> DataError:
    """Return what to say of a kept file that cannot be read."""
    return DataError(f"{path}: damaged ({error}); remove it, and give the folder of the images")


def kept_path(name: str, data_dir: Path) -> Path:
    """Return where the decoded images of `folder:NAME@DIGEST` are kept."""
    return data_dir / "folders" / f"{name.removeprefix(PREFIX)}.npz"


def find(text: str, data_dir: Path) -> tuple[str, FolderSpec]:
    """Return the name `folder:NAME@DIGEST` of a dataset, and what is known of it.

    Args:
        text: `folder:PATH`, or that name itself, of what is kept in the data folder.
        data_dir: the data folder; nothing is written there.

    Raises:
        DataError: no such folder, or one that is not of images of one size by class.
    """
    given = os.path.expanduser(text.removeprefix(PREFIX))  # no shell does so within a word
    if given and os.path.isdir(given):
        folder = Path(os.path.abspath(given))
        spec = look(folder, listing(folder))
        short = re.sub(r"[^A-Za-z0-9_.-]+", "_", folder.name)[:60] or "images"
        return f"{PREFIX}{short}@{spec.digest}", spec
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,60}@[0-9a-f]{8}", given):
        raise DataError(f"{_short(text)}: takes folder:PATH, a folder with train/ and test/")
    path = kept_path(text, data_dir)
    try:
        with np.load(path) as held:
            facts = json.loads(str(held["facts"]))
        lists = {key: tuple(v) if isinstance(v, list) else v for key, v in facts.items()}
        return text, FolderSpec(digest=given[-8:], **{**lists, "shape": Shape(*facts["shape"])})
    except FileNotFoundError:
        raise DataError(f"{text}: no {path}; give folder:PATH, where the images are") from None
    except DAMAGED as error:
        raise damaged(path, error) from None


def _short(text: str) -> str:
    shown = repr(text)
    return shown if len(shown) <= 60 else f"{shown[:40]} ... {shown[-15:]}"


def listing(folder: Path) -> tuple[Entry, ...]:
    """Return every image file of a folder; DataError where it is not one by class."""
    found = []
    for part in PARTS:
        if not (folder / part).is_dir():
            raise DataError(f"{_short(str(folder))}: takes a folder with train/ and test/ by class")
        try:
            for kind in sorted(filter(_counts, os.listdir(folder / part))):
                found += _files(folder, part, kind)
        except OSError as error:
            path = os.path.relpath(error.filename or folder, folder)
            raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
        if not any(entry.part == part for entry in found):
            raise DataError(f"{_short(str(folder))}: no images in {part}/")
    kinds = {part: {entry.kind for entry in found if entry.part == part} for part in PARTS}
    if more := sorted(kinds["test"] - kinds["train"]):
        raise DataError(f"test/{more[0]}: no class of that name with images in train/")
    if len(kinds["train"]) < 2:
        raise DataError(f"train/: images of {len(kinds['train'])} class; takes two or more")
    return tuple(found)


def _files(folder: Path, part: str, kind: str) -> Iterator[Entry]:
    """Yield the files of a class, and those in folders below it; OSError where one is not open."""

    def refuse(error: OSError) -> None:
        raise error

    if not (folder / part / kind).is_dir():
        raise DataError(f"{part}/{kind}: not in the folder of a class; move it there")
    for root, folders, files in os.walk(folder / part / kind, onerror=refuse):
        folders[:] = sorted(filter(_counts, folders))
        for file in sorted(filter(_counts, files)):
            path = Path(root, file)
            facts = path.stat()
            yield Entry(part, kind, str(path.relative_to(folder)), facts.st_size, facts.st_mtime_ns)


def _counts(name: str) -> bool:
    return not name.startswith(".") and name not in IGNORED


@functools.lru_cache(maxsize=4)
def look(folder: Path, entries: tuple[Entry, ...]) -> FolderSpec:
    """Return what is known of a folder once its images are decoded; once, while it is unchanged."""
    arrays, classes = decode(folder, entries)
    images = arrays[0]
    channels = 1 if images.ndim == 3 else images.shape[1]
    mean, std = spread(images)
    return FolderSpec(
        digest=digest_of(arrays, classes),
        folder=folder,
        train_count=len(images),
        test_count=len(arrays[2]),
        shape=Shape(channels, *images.shape[-2:], classes),
        mean=mean,
        std=std,
    )


def decode(folder: Path, entries: tuple[Entry, ...]) -> tuple[Arrays, int]:
    """Return the images and labels of a folder, and the number of its classes.

    A class's label is the place of its name among those of train/. Images stand in the order of
    the SHA-256 of their label and pixels: mixed, as `train_size` and `validation_size` need it,
    and whatever the files are called.
    """
    kinds = sorted({entry.kind for entry in entries if entry.part == "train"})
    images = read_images(folder, [entry.path for entry in entries])
    arrays = []
    for part in PARTS:
        which = [i for i, entry in enumerate(entries) if entry.part == part]
        labels = np.array([kinds.index(entries[i].kind) for i in which], np.int64)
        keys = [hashlib.sha256(b"%d " % k + images[i].tobytes()) for i, k in zip(which, labels)]
        order = sorted(range(len(which)), key=lambda n: keys[n].digest())
        arrays += [images[[which[n] for n in order]], labels[order]]
    return tuple(arrays), len(kinds)


def digest_of(arrays: Arrays, classes: int) -> str:
    """Return the first 8 hexadecimal digits of the SHA-256 of a dataset."""
    sha = hashlib.sha256(json.dumps([classes, *(array.shape for array in arrays)]).encode())
    for array, kind in zip(arrays, ("u1", "<i8", "u1", "<i8"), strict=True):
        sha.update(np.ascontiguousarray(array, kind))
    return sha.hexdigest()[:8]


def spread(images: np.ndarray) -> tuple[float | tuple[float, ...], float | tuple[float, ...]]:
    """Return mean and standard deviation of pixels in [0, 1], by channel where there are some.

    Counted exactly, so that they are the same on every machine; 1 for a channel that is constant.
    """
    channels = [images] if images.ndim == 3 else list(images.swapaxes(0, 1))
    means, stds = [], []
    for pixels in channels:
        counts = np.bincount(pixels.reshape(-1), minlength=256)
        total, first = int(counts.sum()), int(counts @ np.arange(256))
        second = int(counts @ np.arange(256) ** 2)
        means.append(first / total / 255)
        stds.append((total * second - first**2) ** 0.5 / total / 255 or 1.0)
    return (means[0], stds[0]) if images.ndim == 3 else (tuple(means), tuple(stds))


def keep(path: Path, arrays: Arrays, spec: FolderSpec) -> None:
    """Write the decoded images of a folder, and what is known of them, whole."""
    names = ("train_count", "test_count", "shape", "mean", "std")
    facts = json.dumps({name: getattr(spec, name) for name in names})
    content = io.BytesIO()
    np.savez(content, facts=np.array(facts), **dict(zip(ARRAYS, arrays, strict=True)))
    try:
        write_whole(path, content.getvalue())
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from None
