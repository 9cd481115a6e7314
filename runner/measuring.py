"""A trained model measured block by block, each as its settings say."""

import functools
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn

import models
import noises
from analysis.needs import Block
from config import PROBE_IMAGES, REESTIMATED, Run
from data import Dataset, batches
from evaluate import Measure, measure, sweep
from probes import hessian
from probes.batchnorm import has_batchnorm, reestimated
from store.records import Record, key

BATCHNORM_BATCH = 256  # of the 1,024 training images: four equal batches, which count alike
Keep = Callable[[dict, list, np.ndarray], None]


class Measuring:
    """Measures one model; it is left as it was.

    Args:
        model: the trained model, where it is measured.
        dataset: what the run trains and is measured on; the test part is cut as settings say.
        run: whose model it is.
        keep: called after each measurement on test images with its settings, its row, and which
            images were answered right, (total,) booleans.
    """

    def __init__(self, model: nn.Module, dataset: Dataset, run: Run, keep: Keep | None = None):
        device = next(model.parameters()).device
        first = slice(PROBE_IMAGES)
        self.model, self.run, self.keep = model, run, keep
        self.tested = dataset.test_images.to(device), dataset.test_labels.to(device)
        self.training = (
            dataset.train_images[first].to(device),
            dataset.train_labels[first].to(device),
        )
        self.patterns = models.patterns(run.architecture)

    def rows_of(self, block: Block) -> Iterator[list]:
        """Yield a row for each point of a block, in order: see `records.COLUMNS`."""
        settings = block.settings
        images, labels = self.training
        if block.images == "test":
            images, labels = (part[: settings["test_size"] or None] for part in self.tested)
        told: list[torch.Tensor] = []
        measure_it = functools.partial(measure, images=images, labels=labels, tell=told.append)
        if settings.get("batchnorm") == REESTIMATED:
            measure_it = functools.partial(measure_reestimated, measure_it, *self.training)
        seeds = settings["noise_seed"], self.run.seed
        family = settings.get("noise", "gaussian")
        for row in sweep(self.model, measure_it, block.points, *seeds, family, **self.patterns):
            if self.keep is not None and block.images == "test":
                self.keep(settings, row, torch.cat(told).cpu().numpy())
            told.clear()
            yield row

    def traces_of(self, block: Block) -> dict:
        """Return the Hessian estimates along the draws of a block's pairs, with their settings."""
        images, labels = self.training
        seeds, pairs = (block.settings["noise_seed"], self.run.seed), block.settings["pairs"]
        forms = hessian.along_draws(self.model, images, labels, *seeds, pairs, **self.patterns)
        return {"settings": block.settings, "images": len(labels), "forms": forms}


def measure_reestimated(
    measure_it: Measure, images: torch.Tensor, labels: torch.Tensor, model: nn.Module
) -> tuple[int, int, float | None]:
    """Measure a model with BatchNorm statistics taken anew, as it stands, on training images."""
    with reestimated(model, (x for x, _ in batches(images, labels, BATCHNORM_BATCH))):
        return measure_it(model)


def blocks_of(record: Record, model: nn.Module) -> tuple[list[Block], int]:
    """Return all measurements of a record on images as blocks, and of how many this version does
    not know how they are made: of other settings, or a strength that means nothing."""
    blocks, unknown = [], 0
    for found in record["measurements"]:
        settings, points = found["settings"], [key(row) for row in found["rows"]]
        images = images_of(settings, model)
        known = [p for p in points if images and means(settings, p[0])]
        known.sort(key=lambda p: (p[1], p[0], -p[2]))  # one draw is made once for all strengths
        unknown += len(points) - len(known)
        if known:
            blocks.append(Block(images, settings, known))
    return blocks, unknown


def traces(record: Record) -> tuple[list[Block], int]:
    """Return the same of a record's Hessian estimates."""
    found = record.get("curvature", [])
    known = []
    for block in found:
        settings, forms = block["settings"], next(iter(block["forms"].values()))
        asked = {"train_part": PROBE_IMAGES, "pairs": len(forms)}
        if settings == {"noise_seed": settings.get("noise_seed"), **asked}:
            known.append(Block("traces", settings, [(0.0, 0, 1)]))
    return known, len(found) - len(known)


def images_of(settings: dict, model: nn.Module) -> str:
    """Return on which images settings say that a model was measured; "" if it cannot be."""
    if settings.keys() == {"train_part", "noise_seed"}:
        return "training" if settings["train_part"] == PROBE_IMAGES else ""
    if settings.keys() - {"noise", "batchnorm"} != {"test_size", "noise_seed"}:
        return ""
    anew = "batchnorm" in settings and not has_batchnorm(model)
    return "" if anew or not noises.exists(settings.get("noise", "gaussian")) else "test"


def means(settings: dict, strength: float) -> bool:
    """Return whether a strength means something under the noise of settings."""
    try:
        noises.find(settings.get("noise", "gaussian")).check(strength)
    except ValueError:
        return False
    return True
