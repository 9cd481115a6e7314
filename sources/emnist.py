"""EMNIST (Cohen et al., 2017): handwritten letters, and letters with digits, in one archive."""

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from config import Shape
from sources.fetched import MAX_BYTES, FetchedSpec, Source, archive_from_torchvision, unzip
from sources.idx import parse_idx
from sources.mnist import MIRRORS
from sources.spec import Arrays, DataError, DatasetSpec


@dataclass(frozen=True, kw_only=True)
class EmnistSpec(FetchedSpec):
    """One split of EMNIST, read out of the archive of all."""

    split: str
    """Name of the split in its files' names."""
    first_label: int = 0
    """What the files call the first class."""
    torchvision_class: str = "EMNIST"
    home: str = "EMNIST/raw"
    files: tuple[str, ...] = ("gzip.zip",)
    md5: tuple[str, ...] = ("58c8d27c78d21e728a6bc7b3cc06412e",)
    sha256: tuple[str, ...] = ("fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e",)
    sources: dict[str, Source]
    megabytes: int = 562

    def read(self, name: str, data_dir: Path, known: Mapping[str, DatasetSpec]) -> Arrays:
        """Return the split upright and counted from 0: the files hold the images transposed."""
        (content,) = self.contents(name, data_dir, known).values()
        arrays = []
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                for part in ("train", "test"):
                    for kind in ("images-idx3", "labels-idx1"):
                        member = f"gzip/emnist-{self.split}-{part}-{kind}-ubyte.gz"
                        with archive.open(member) as file:
                            packed = file.read(MAX_BYTES)
                        arrays.append(parse_idx(unzip(packed, member), member))
        except (zipfile.BadZipFile, KeyError, NotImplementedError) as error:
            raise DataError(f"{name}: {self.files[0]} is not as expected: {error}") from None
        train_images, train_labels, test_images, test_labels = arrays
        return (
            train_images.swapaxes(1, 2),
            train_labels.astype("int64") - self.first_label,
            test_images.swapaxes(1, 2),
            test_labels.astype("int64") - self.first_label,
        )


LETTERS = EmnistSpec(
    split="letters",
    first_label=1,
    train_count=124_800,
    test_count=20_800,
    shape=Shape(classes=26),
    mean=0.1722,
    std=0.3309,
    sources={MIRRORS: archive_from_torchvision},
)
"""The 26 letters, upper and lower case as one class."""

BALANCED = EmnistSpec(
    split="balanced",
    train_count=112_800,
    test_count=18_800,
    shape=Shape(classes=47),
    mean=0.1751,
    std=0.3332,
    sources={MIRRORS: archive_from_torchvision},
)
"""Digits and letters in 47 classes of equal size: cases that look alike are one class."""
