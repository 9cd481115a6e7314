"""Saved runs: a checkpoint → its run and trained model, and the images that it is measured on."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from torch import Tensor, nn

import data
import models
from config import REGIMES, Run
from machine.checks import UsageError, fail, within
from store import checkpoints
from store.files import Damaged, Foreign


def load_model(path: Path, data_dir: Path = Path("data")) -> tuple[Run, nn.Module]:
    """Return the run of a finished checkpoint and its model, in evaluation mode, on the CPU.

    Args:
        path: the checkpoint.
        data_dir: folder of the dataset files, where what is known of a folder of images is kept.

    Raises:
        OSError: if it cannot be read.
        Damaged, Foreign: if it is not a finished run of this version.
    """
    content = checkpoints.load(path)
    try:
        if "training" in content:
            raise ValueError("a run that is still in training")
        check_members(content["identity"])
        run = Run.of(content["identity"])
        dataset = data.identify(run.recipe.dataset, data_dir)
        model = models.build_for(run.architecture, data.DATASETS[dataset])
        model.load_state_dict(content["model"])
    except KeyError as error:
        raise Foreign(f"{path}: it lacks {error}") from None
    except (ValueError, TypeError, RuntimeError) as error:
        raise Foreign(f"{path}: {error}") from None
    return run, model.eval()


def check_members(identity: dict) -> None:
    """Raise ValueError where an identity names what is not registered in this program."""
    for what, name, there in (
        ("architecture", identity["architecture"], models.ARCHITECTURES),
        ("regime", identity["regime"], REGIMES),
    ):
        if name not in there:
            raise ValueError(
                f"its {what} {name!r} is not registered here; import what registers it first"
            )


def find_models(
    folder: Path, architectures: Iterable[str], data_dir: Path = Path("data")
) -> Iterator[tuple[Run, nn.Module]]:
    """Yield the finished runs of architectures in a folder, with their models, by name.

    Files that are damaged, foreign or of another version are skipped with a line on stderr.
    """
    for path in [p for name in architectures for p in sorted(folder.glob(f"{name}-*.pt"))]:
        if path.name.endswith(".resume.pt"):
            continue
        try:
            yield load_model(path, data_dir)
        except (Damaged, Foreign, OSError) as error:
            print(f"evaluate.py: left out: {error}", file=sys.stderr)


def images_of(run: Run, data_dir: Path, size: int) -> tuple[Tensor, Tensor]:
    """Return the first `size` images (0 = all) that a run is measured on, uint8 (N, H, W) or
    (N, C, H, W), and their labels (N,); of a recipe under choice they are validation images.

    Without the dataset, or with more asked for than it has, the program ends with status 2.
    """
    try:
        dataset = data.load(run.recipe.dataset, data_dir)
        within("--test-size", size, 0, len(dataset.test_labels), "0 = all")
    except UsageError as error:
        fail(error)
    except data.DataError as error:
        fail(UsageError(f"--data-dir: {error}"))
    if run.recipe.validation_size:  # the test set is for the final recipe
        dataset = data.split_validation(dataset, run.recipe.validation_size)
    end = size or None
    return dataset.test_images[:end], dataset.test_labels[:end]
