"""What is known of a dataset before its files are opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from config import Shape

if TYPE_CHECKING:
    import torch

MNIST = Shape()
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Training images (N, H, W) or (N, C, H, W) uint8, their labels (N,), test images, their labels.
Images (N, H, W) are grey; where the shape says 3 channels, each of them is the same."""


class DataError(RuntimeError):
    """A dataset cannot be had, or one of its files is wrong: one line, written for the user."""


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """A dataset: subclass it with a `read` of its own, and give it a line in `data.DATASETS`."""

    train_count: int
    test_count: int
    shape: Shape = MNIST
    """Channels, height, width as a model gets them, and classes."""
    mean: float | tuple[float, ...] = 0.1307
    """Of the pixels in [0, 1], in all or by channel: models normalise by it."""
    std: float | tuple[float, ...] = 0.3081
    """Their standard deviation."""
    augment: Callable[[torch.Tensor, torch.Generator], torch.Tensor] | None = None
    """From a training batch (B, C, H, W) in [0, 1] and a CPU generator of its own, whose state is
    saved with the run, to the batch to train on; None trains on the images as they are."""

    def read(self, name: str, data_dir: Path, known: Mapping[str, DatasetSpec]) -> Arrays:
        """Return the whole dataset, first fetching what is missing.

        Args:
            name: its own, for messages.
            data_dir: the data folder; a file already there is never changed.
            known: every dataset, to tell whose file a wrong one is.

        Raises:
            DataError: a wrong or damaged file, or no source answers.
        """
        raise NotImplementedError
