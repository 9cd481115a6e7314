"""The idx format of MNIST's files, raw or gzipped: strict, and safe to point at any file."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

MAX_BYTES = 1 << 28  # most that an idx file may unpack to; MNIST's largest takes 47 MB


class DataError(RuntimeError):
    """A dataset cannot be had, or one of its files is wrong: one line, written for the user."""


def read_idx(path: str | Path) -> np.ndarray:
    """Read a file of labels `(N,)` or images `(N, H, W)`, raw or gzipped: uint8, read-only.

    Strict: the file holds exactly what its header says, neither more nor less. No allocation
    follows the header, and nothing is unpacked beyond MAX_BYTES.
    Raises DataError that names the file and what is wrong with it.
    """
    return parse_idx(read_bytes(Path(path)), path)


def read_bytes(path: Path) -> bytes:
    """The content of a file, unzipped if it starts as gzip does, whatever it is called."""
    try:
        if not path.is_file():  # opening a pipe would wait for ever
            raise DataError(f"{path}: not a file")
        with open(path, "rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            content = (gzip.GzipFile(fileobj=file) if zipped else file).read(MAX_BYTES + 1)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(f"{path}: damaged gzip file ({error})") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    if len(content) > MAX_BYTES:
        raise DataError(f"{path}: holds more than {MAX_BYTES:,} bytes; no dataset file does")
    return content


def parse_idx(content: bytes, path: str | Path) -> np.ndarray:
    """Two zero bytes, type, number of dimensions, each dimension (4 bytes, big-endian), data."""
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
