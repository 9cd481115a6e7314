"""The answers of single images, where they were kept → the summary that the report shows. No torch.

From the bits beside the records where they are there, otherwise from `images.json`, as far as it is
of these very records.
"""

import functools
import math
from pathlib import Path

import numpy as np

from analysis import images
from analysis.images import Points, Who
from config import Recipe
from store import images as bits
from store import pictures, records
from store.pictures import Summary
from store.plan import Plan
from store.records import Record

Packed = dict[tuple[float, int], tuple[bytes, int]]
"""By strength and draw: packed bits, and of how many images."""


def summarise(results_dir: Path, plan: Plan, found: list[Record], baseline: str) -> Summary:
    """Return what is known of single images; an empty summary where nothing is.

    Args:
        results_dir: the folder with the bits and `images.json`.
        plan: which images and settings.
        found: records of the plan's recipe.
        baseline: the regime that others are compared with.
    """
    if not isinstance(plan.recipe, Recipe):  # of own models no bits are kept
        return pictures.new({})
    there = pictures.find(results_dir, pictures.of_images(plan.recipe, plan.sweep))
    answers = read_bits(results_dir / "runs", found, plan.sweep.settings)
    points = {who: points_of(packed) for who, packed in answers.items()}
    right = {who: functools.partial(unpacked, packed) for who, packed in answers.items()}
    effects = [plain(row) for row in images.effects(points, right, baseline)] if answers else []
    answered = {who[0] for who in answers}
    kept = kept_of(there, found, answered)
    components = [*kept["components"], *effects]
    first = kept["first"] | {
        name: rows for name in answered if (rows := images.first_to_break(points, right, name))
    }
    order = [*dict.fromkeys(record["identity"]["architecture"] for record in found)]
    return {
        **there,
        "weights": {
            record["run_id"]: record["weights"]
            for record in found
            if who_of(record) in answers or record["run_id"] in kept["weights"]
        },
        "components": sorted(components, key=lambda row: order.index(row["architecture"])),
        "first": {name: first[name] for name in order if name in first},
    }


def kept_of(there: Summary, found: list[Record], answered: set[str]) -> Summary:
    """Return the part of a summary that is of these very records, and of architectures of which
    there are no bits."""
    names = {record["run_id"]: record["identity"]["architecture"] for record in found}
    weights = {record["run_id"]: record["weights"] for record in found}
    if not there["weights"].keys() <= weights.keys():
        return pictures.new({})
    other = {names[run_id] for run_id, w in there["weights"].items() if weights[run_id] != w}
    return pictures.part(there, {*names.values()} - answered - other)


def read_bits(runs: Path, found: list[Record], settings: dict) -> dict[Who, Packed]:
    """Return the bits of each run that has some, as far as they agree with its record's +ε rows;
    nothing if they are of different numbers of images."""
    answers: dict[Who, Packed] = {}
    if not (bits.images_folder(runs).is_dir() or bits.parts_folder(runs).is_dir()):
        return answers
    for record in found:
        if kept := bits.find(runs, record["run_id"], record["weights"]):
            totals = {records.key(row): row[4] for row in records.rows(record, settings)}
            agreed = bits.agreeing(record, settings, kept)
            mine = {k[:2]: (b, totals[k]) for k, b in agreed.items() if k[2] > 0}
            if mine:
                answers[who_of(record)] = mine
    sizes = {total for packed in answers.values() for _, total in packed.values()}
    return answers if len(sizes) == 1 else {}


def who_of(record: Record) -> Who:
    """Return whose a record is."""
    who = record["identity"]
    return who["architecture"], who["regime"], who["seed"]


def points_of(packed: Packed) -> Points:
    """Return the draws of each strength."""
    points: dict[float, list[int]] = {}
    for alpha, draw in sorted(packed):
        points.setdefault(alpha, []).append(draw)
    return points


def unpacked(packed: Packed, alpha: float, draw: int) -> np.ndarray:
    """Return which images a measurement answered right, (I,) booleans: an `images.Right`."""
    return bits.unpack(*packed[alpha, draw])


def plain(row: dict) -> dict:
    """Return a row as JSON data: None for what is not known."""
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}
