"""Dataset files -> uint8 tensors in memory -> batches `(B, C, H, W)` float32 in [0, 1].

A dataset says its shape, its normalisation and how it is read (`sources.spec.DatasetSpec`). Files
are taken from the data folder, those not there are fetched once, and what is read is checked by its
digest. A folder of images by class is a dataset too: `folder:PATH`.

    python data.py                      # prints the shapes and range of a training and a test batch
    python data.py --dataset cifar10    # of another one
"""

from machine.process import steady_output  # first: it checks Python's version

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from machine.checks import UsageError, check_folder, fail
from sources import cifar, emnist, folder, mnist
from sources.spec import Arrays, DataError, DatasetSpec

GREY = 3
"""Channels of a grey image (H, W): each is the same, as in the seed's 3-channel MNIST."""


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A dataset in memory, on the CPU: N training and M test images of H x W pixels."""

    train_images: torch.Tensor  # (N, H, W) or (N, C, H, W) uint8
    train_labels: torch.Tensor  # (N,) int64, in [0, classes)
    test_images: torch.Tensor  # (M, H, W) or (M, C, H, W) uint8
    test_labels: torch.Tensor  # (M,) int64
    classes: int


def identify(name: str, data_dir: str | Path) -> str:
    """Return the name under which a dataset stands in `DATASETS` and in the identity of runs.

    That is `name` itself, but for `folder:PATH`: `folder:NAME@DIGEST`, which tells the content and
    not where it lies; it is entered here. Nothing is written.

    Raises DataError: unknown name, or a folder that is not one of images by class.
    """
    if name.startswith(folder.PREFIX) and name not in DATASETS:
        name, spec = folder.find(name, Path(data_dir))
        DATASETS[name] = spec
    if name not in DATASETS:
        raise DataError(f"unknown dataset {name!r}; known: {', '.join(DATASETS)}, folder:PATH")
    return name


def load(name: str, data_dir: str | Path, train_size: int = 0, test_size: int = 0) -> Dataset:
    """Load dataset `name`, first fetching into `data_dir` those of its files that are missing.

    The first `train_size` and `test_size` images are kept; 0 keeps all. Files are looked for in
    torchvision's layout (such as `data_dir/MNIST/raw`), then in `data_dir` itself. A file already
    there is never changed. Any number of processes may do this at once.

    Raises DataError: unknown name, size out of range, a wrong or damaged file, no source answers,
    or images and labels that are not what the dataset says of them.
    """
    name = identify(name, data_dir)
    spec = DATASETS[name]
    sizes = {"training": (train_size, spec.train_count), "test": (test_size, spec.test_count)}
    for part, (size, count) in sizes.items():
        if not 0 <= size <= count:
            raise DataError(f"{size} {part} images: {name} has {count}; give 0 (all) to {count}")

    if os.path.lexists(data_dir) and not os.path.isdir(data_dir):
        raise DataError(f"{data_dir}: not a folder")
    arrays = spec.read(name, Path(data_dir), DATASETS)
    check(name, spec, arrays)
    parts = []
    for array, size in zip(arrays, (train_size, train_size, test_size, test_size), strict=True):
        part = torch.tensor(array[: size or None])  # a copy of that part only
        if part.dim() == 3 and spec.shape.channels != GREY:
            part = part.unsqueeze(1)  # (N, H, W) -> (N, 1, H, W)
        parts.append(part)
    train_images, train_labels, test_images, test_labels = parts
    return Dataset(
        train_images, train_labels.long(), test_images, test_labels.long(), spec.shape.classes
    )


def check(name: str, spec: DatasetSpec, arrays: Arrays) -> None:
    """Check that what was read is what the dataset says: DataError tells what is not, else."""
    channels, height, width, classes = spec.shape
    for part, count, images, labels in (
        ("training", spec.train_count, *arrays[:2]),
        ("test", spec.test_count, *arrays[2:]),
    ):
        if images.dtype != np.uint8:
            raise DataError(f"{name}: {part} images are {images.dtype}, expected uint8, 0 to 255")
        if images.ndim not in (3, 4):
            raise DataError(f"{name}: {part} images have {images.ndim} dimensions, expected 3 or 4")
        grey = images.ndim == 3 and channels in (1, GREY)
        if not grey and (images.ndim == 3 or images.shape[1] != channels):
            held = 1 if images.ndim == 3 else images.shape[1]
            raise DataError(f"{name}: {part} images of {held} channels, expected {channels}")
        if images.shape[-2:] != (height, width):
            held = "x".join(map(str, images.shape[-2:]))
            raise DataError(f"{name}: {part} images of {held}, expected {height}x{width}")
        if len(images) != count or labels.shape != (count,):
            held = f"{len(images)} {part} images with {labels.size} labels"
            raise DataError(f"{name}: {held}, expected {count} of each")
        if labels.dtype.kind not in "iu":
            raise DataError(f"{name}: {part} labels are {labels.dtype}, expected whole numbers")
        if (low := labels.min()) < 0 or (high := labels.max()) >= classes:
            wrong = low if low < 0 else high
            raise DataError(f"{name}: a {part} label is {wrong}, expected 0 to {classes - 1}")


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
    """One epoch of pairs x `(B, C, H, W)` float32 in [0, 1], y `(B,)`, on the images' device.

    `images` is uint8, `(N, C, H, W)` or, for grey ones that are given three equal channels,
    `(N, H, W)`; `labels` is `(N,)`, on the same device. With a CPU `generator` the order is a new
    permutation, the same on every device; without one it is as given. The last batch may be
    smaller; the first `skip` batches are left out. Raises ValueError if `batch_size` < 1, or the
    lengths differ or are 0; TypeError if the images are not bytes.
    """
    if images.dtype != torch.uint8:
        raise TypeError(
            f"images are {images.dtype}, and are taken as bytes from 0 to 255: give uint8 images, "
            "or a measure of your own to evaluate.sweep"
        )
    if batch_size < 1 or not len(images) == len(labels) > 0:
        raise ValueError(f"{batch_size=}, {len(images)} images, {len(labels)} labels")
    order = torch.arange(len(images))
    if generator is not None:
        order = torch.randperm(len(images), generator=generator)
    # Both moved once an epoch, so that no batch waits for the device. Divided by a tensor of the
    # same device, for a GPU divides by a plain number inexactly: it multiplies by the reciprocal.
    order, white = order.to(images.device), torch.tensor(255.0, device=images.device)
    for index in order.split(batch_size)[skip:]:
        x = images.index_select(0, index).to(torch.float32).div_(white)  # (B, [C,] H, W)
        if x.dim() == 3:
            # expand copies nothing: its stride along the channels is 0. By that stride a model can
            # see that they are equal, and do its first layer once instead of three times.
            x = x.unsqueeze(1).expand(-1, GREY, -1, -1)  # (B, H, W) -> (B, 3, H, W)
        yield x, labels.index_select(0, index)  # (B, C, H, W), (B,)


DATASETS: dict[str, DatasetSpec] = {
    "mnist": mnist.MNIST,
    "fashion_mnist": mnist.FASHION_MNIST,
    "kmnist": mnist.KMNIST,
    "emnist_letters": emnist.LETTERS,
    "emnist_balanced": emnist.BALANCED,
    "cifar10": cifar.CIFAR10,
    "cifar100": cifar.CIFAR100,
}
"""Besides these, `identify` enters folders of images by class."""


def main(dataset: str = "mnist", data_dir: Path = Path("data")) -> None:
    """Fetch a dataset where it is not there yet, and print the shapes of a batch.

    Args:
        dataset: a name in `DATASETS`, or folder:PATH.
        data_dir: folder of the dataset files.
    """
    try:
        check_folder("--data-dir", data_dir, read_only=True)
        name = identify(dataset, data_dir)
    except UsageError as error:
        fail(error)
    except DataError as error:
        fail(UsageError(f"--dataset: {error}"))
    try:
        found = load(name, data_dir)
    except DataError as error:
        fail(UsageError(f"--data-dir: {error}"))
    for part, images, labels in (
        ("Train", found.train_images, found.train_labels),
        ("Test", found.test_images, found.test_labels),
    ):
        x, y = next(batches(images, labels, batch_size=128))
        print(f"{part} batch: {x.shape=}, {y.shape=}, x in [{x.min():.3f}, {x.max():.3f}]")


if __name__ == "__main__":
    from machine import words

    steady_output()
    words.run(main)
