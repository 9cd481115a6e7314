"""Datasets of four idx files, such as MNIST: their format, and what is wrong with a wrong one."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sources.fetched import FetchedSpec, read_bytes, unzip
from sources.spec import Arrays, DataError, DatasetSpec

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def parse_idx(content: bytes, path: str | Path) -> np.ndarray:
    """Return labels (N,) or images (N, H, W), uint8 and read-only; DataError for anything else.

    Two zero bytes, type, number of dimensions, each dimension (4 bytes, big-endian), data.
    """
    if len(content) < 4 or content[:2] != b"\0\0":
        raise DataError(f"{path}: not an idx file (wrong magic number: {content[:4]!r})")
    kind, ndim = content[2:4]
    if kind != 8:
        raise DataError(f"{path}: holds idx type 0x{kind:02x}; expected 0x08, unsigned bytes")
    if ndim not in (1, 3):
        raise DataError(f"{path}: has {ndim} dimensions; labels have 1 and images 3")
    start = 4 + 4 * ndim
    if len(content) < start:
        raise DataError(f"{path}: truncated in its header")
    shape = tuple(int.from_bytes(content[i : i + 4], "big") for i in range(4, start, 4))
    if 0 in shape:
        raise DataError(f"{path}: holds no data; its dimensions are {shape}")
    if len(content) != (whole := start + math.prod(shape)):
        fault = "truncated" if len(content) < whole else "bytes after its end"
        raise DataError(f"{path}: {fault}: {len(content):,} bytes, expected {whole:,}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


@dataclass(frozen=True, kw_only=True)
class IdxSpec(FetchedSpec):
    """A dataset of four idx files, the format that MNIST introduced; digests are of raw files."""

    files: tuple[str, ...] = FILES
    train_count: int = 60_000
    test_count: int = 10_000
    image_shape: tuple[int, int] = (28, 28)
    """Height and width in pixels."""

    def read(self, name: str, data_dir: Path, known: Mapping[str, DatasetSpec]) -> Arrays:
        """Return the four arrays of the four files."""
        contents = self.contents(name, data_dir, known)
        return tuple(parse_idx(unzip(contents[file], file), file) for file in self.files)

    def variants(self, file: str) -> tuple[str, ...]:
        """Return the names of a raw and of a zipped file; which it is, its content tells."""
        return file, f"{file}.gz"

    def look(self, path: Path) -> bytes:
        """Return the content of a file, unzipped where it is zipped."""
        return unzip(read_bytes(path), path)

    def explain(self, content: bytes, path: Path, which: int) -> None:
        """Say what a wrong file holds instead of what it should, if that can be told."""
        count = (self.train_count, self.test_count)[which // 2]
        images = "images" in self.files[which]
        wanted = _describe((count, *self.image_shape) if images else (count,))
        held = _describe(parse_idx(unzip(content, path), path).shape)
        if held != wanted:
            raise DataError(f"{path}: holds {held}; expected {wanted}")


@dataclass(frozen=True, kw_only=True)
class ZippedIdxSpec(IdxSpec):
    """The same where the published digests are of the zipped files: only these are taken."""

    files: tuple[str, ...] = tuple(f"{file}.gz" for file in FILES)

    def variants(self, file: str) -> tuple[str, ...]:
        """Return the one name."""
        return (file,)

    def look(self, path: Path) -> bytes:
        """Return the content as it is."""
        return read_bytes(path)


def _describe(shape: tuple[int, ...]) -> str:
    size = "x".join(map(str, shape[1:]))
    return f"{shape[0]:,} images of {size}" if size else f"{shape[0]:,} labels"
