"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009): colour images of 32x32, as pickles in an archive."""

import codecs
import io
import pickle
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from config import Shape
from sources.augment import crop_and_flip
from sources.fetched import MAX_BYTES, FetchedSpec, archive_from_torchvision
from sources.mnist import MIRRORS
from sources.spec import Arrays, DataError, DatasetSpec

RECONSTRUCT = np.empty(0).__reduce__()[0]
TAKEN = {
    ("numpy.core.multiarray", "_reconstruct"): RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): codecs.encode,
}
"""All that a pickle of arrays, lists and text calls, wherever it was made."""


class ArraysOnly(pickle.Unpickler):
    """Unpickles arrays, dicts, lists and text; whatever else a pickle would call is refused."""

    def find_class(self, module: str, name: str):
        """Return one of `TAKEN`; UnpicklingError for any other name."""
        if (module, name) not in TAKEN:
            raise pickle.UnpicklingError(f"it would call {module}.{name}")
        return TAKEN[module, name]


@dataclass(frozen=True, kw_only=True)
class CifarSpec(FetchedSpec):
    """A dataset in the format of CIFAR: an archive of pickled dicts of rows and labels."""

    train_members: tuple[str, ...]
    """Files in the archive that hold the training images, in order."""
    test_member: str
    label_key: str
    """Key of the labels in each file."""

    def read(self, name: str, data_dir: Path, known: Mapping[str, DatasetSpec]) -> Arrays:
        """Read the archive; its digests are checked before it is opened."""
        (content,) = self.contents(name, data_dir, known).values()
        members = (*self.train_members, self.test_member)
        try:
            found = {}
            with tarfile.open(fileobj=io.BytesIO(content)) as archive:
                for member in archive:  # in their order: to go back would unzip again
                    if member.name in members:
                        found[member.name] = archive.extractfile(member).read(MAX_BYTES)
            parts = [self._part(found[member]) for member in members]
            *train, (test_images, test_labels) = parts
            train_images, train_labels = (np.concatenate(arrays) for arrays in zip(*train))
        except (tarfile.TarError, zlib.error, EOFError, OSError, pickle.UnpicklingError) as error:
            raise DataError(f"{name}: {self.files[0]} is not as expected: {error}") from None
        except (LookupError, ValueError, TypeError, AttributeError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise DataError(f"{name}: {self.files[0]} is not as expected: {reason}") from None
        return train_images, train_labels, test_images, test_labels

    def _part(self, content: bytes) -> tuple[np.ndarray, np.ndarray]:
        """Return images (N, C, H, W) and labels (N,) of one file."""
        held = ArraysOnly(io.BytesIO(content), encoding="latin1").load()
        images = held["data"].reshape(-1, *self.shape[:3])  # (N, C·H·W) -> (N, C, H, W)
        return images, np.array(held[self.label_key])


CIFAR10 = CifarSpec(
    torchvision_class="CIFAR10",
    files=("cifar-10-python.tar.gz",),
    md5=("c58f30108f718f92721af3b95e74349a",),
    sha256=("6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",),
    megabytes=170,
    train_members=tuple(f"cifar-10-batches-py/data_batch_{n}" for n in range(1, 6)),
    test_member="cifar-10-batches-py/test_batch",
    label_key="labels",
    train_count=50_000,
    test_count=10_000,
    shape=Shape(3, 32, 32, 10),
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
    augment=crop_and_flip,
    sources={MIRRORS: archive_from_torchvision},
)

CIFAR100 = CifarSpec(
    torchvision_class="CIFAR100",
    files=("cifar-100-python.tar.gz",),
    md5=("eb9058c3a382ffc7106e4002c42a8d85",),
    sha256=("85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",),
    megabytes=169,
    train_members=("cifar-100-python/train",),
    test_member="cifar-100-python/test",
    label_key="fine_labels",
    train_count=50_000,
    test_count=10_000,
    shape=Shape(3, 32, 32, 100),
    mean=(0.5071, 0.4865, 0.4409),
    std=(0.2673, 0.2564, 0.2762),
    augment=crop_and_flip,
    sources={MIRRORS: archive_from_torchvision},
)
