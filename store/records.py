"""Records on disk: one JSON file per run, written whole, read back checked, merged. No torch.

A record holds who the run is, the digest of its trained weights, its training history, its
provenance and its measurements. Measurements are added and never changed. Keys:

    format        version of this layout
    run_id        name of the run and of its files
    identity      `config.Run.identity`: everything that shaped the weights
    weights       SHA-256 of the trained tensors
    history       mean training loss of each epoch
    provenance    versions, device, threads, times: kept out of every table
    measurements  [{"settings": {...}, "rows": [[alpha, draw, sign, correct, total, loss], ...]}]
    traits        what the search and the policies need to know of the model; see `TRAITS`
    curvature     only with antithetic draws: [{"settings": {...}, "images": n, "forms": {...}}]
    digest        SHA-256 of all the rest

`correct` and `total` are counts of images; `loss` is the cross-entropy summed over them (null
where it is not finite). `forms` are what `hessian.quadratic_forms` returns: by parameter, a number
for each probe, in nats. Which images and which noise seed is said by the settings.
"""

import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from config import Run, digest
from store.files import Damaged, Foreign, write_whole


class Row(NamedTuple):
    """A measurement row, for reading: `Row(*row).correct`."""

    alpha: float
    draw: int
    sign: int
    correct: int
    total: int
    loss: float | None
    size: float | None = None
    """The realised RMS(w' − w)/std(W), for another family than the Gaussian alone."""


FORMAT = 1
COLUMNS = Row._fields[:6]
"""Columns of every measurement row: strength α, draw number, sign of the draw, counts, loss."""
KEYS = ("format", "run_id", "identity", "weights", "history", "provenance", "measurements")
OPTIONAL = ("traits", "curvature")
"""Keys of a record that it may lack."""
TRAITS = {"chance": 0.1, "batchnorm": False}
"""What a record says of its model, and what one of before means that does not say it: the accuracy
of guessing, and whether the model has BatchNorm statistics to take anew."""

Record = dict
Key = tuple[float, int, int]  # (alpha, draw, sign)


class Conflict(ValueError):
    """Two records of one run disagree about its weights or about a measurement."""


def new(
    run: Run, weights: str, history: list[float], provenance: dict, traits: dict | None = None
) -> Record:
    """Return a record without measurements."""
    known = {} if traits is None else {"traits": traits}
    return {
        "format": FORMAT,
        "run_id": run.run_id,
        "identity": run.identity,
        "weights": weights,
        "history": history,
        "provenance": provenance,
        "measurements": [],
        **known,
    }


def traits(record: Record) -> dict:
    """Return what a record says of its model: see `TRAITS`."""
    return {**TRAITS, **record.get("traits", {})}


def rows(record: Record, settings: dict) -> list[list]:
    """Return the rows measured under `settings`, in the order of `COLUMNS`; [] if none."""
    for block in record["measurements"]:
        if block["settings"] == settings:
            return block["rows"]
    return []


def key(row: list) -> Key:
    """Return what names a measurement within its settings."""
    return (row[0], row[1], row[2])


def add(record: Record, settings: dict, new_rows: Iterable[list]) -> Record:
    """Return the record with more measurements; those that it has already stay as they are."""
    merged = {key(row): list(row) for row in new_rows}
    merged.update((key(row), row) for row in rows(record, settings))
    block = {"settings": dict(settings), "rows": [merged[k] for k in sorted(merged)]}
    others = [b for b in record["measurements"] if b["settings"] != settings]
    blocks = sorted([*others, block], key=lambda b: json.dumps(b["settings"], sort_keys=True))
    return {**record, "measurements": blocks}


def curvature_block(record: Record, settings: dict) -> dict | None:
    """Return the block of Hessian estimates under `settings`; None if there is none."""
    return next((b for b in record.get("curvature", []) if b["settings"] == settings), None)


def add_curvature(record: Record, block: dict) -> Record:
    """Return the record with one more block of Hessian estimates; one that it has stays."""
    if curvature_block(record, block["settings"]):
        return record
    blocks = [*record.get("curvature", []), block]
    blocks.sort(key=lambda b: json.dumps(b["settings"], sort_keys=True))
    return {**record, "curvature": blocks}


def merge(mine: Record, theirs: Record) -> Record:
    """Return the union of two records of one run; history and provenance are `mine`.

    Raises:
        Conflict: if they are of different runs, of different weights, or if they hold other
            numbers for one measurement.
    """
    name = mine["run_id"]
    for part in ("run_id", "identity", "weights"):
        if mine[part] != theirs[part]:
            raise Conflict(f"{name}: two records of it differ in {part}")
    for block in theirs["measurements"]:
        ours = {key(row): row for row in rows(mine, block["settings"])}
        for row in block["rows"]:
            if ours.get(key(row), row) != row:
                alpha, draw, sign = key(row)
                where = f"α = {alpha:g}, draw {draw}" + (", sign −1" if sign < 0 else "")
                raise Conflict(f"{name}: two records of it differ at {where}")
        mine = add(mine, block["settings"], block["rows"])
    for block in theirs.get("curvature", []):
        if curvature_block(mine, block["settings"]) not in (None, block):
            seed = block["settings"].get("noise_seed")
            raise Conflict(f"{name}: two records of it differ in curvature (noise seed {seed})")
        mine = add_curvature(mine, block)
    return {**{k: theirs[k] for k in ("traits",) if k in theirs}, **mine}


def save(path: Path, record: Record) -> Record:
    """Write a record whole, keeping what another process has added to it meanwhile.

    Where both measured the same, what was there first stays.

    Returns:
        The record as written.

    Raises:
        Conflict: if the file there is of other weights: nothing is written.
        OSError: if it cannot be written.
    """
    try:
        there = load(path)
    except (FileNotFoundError, Damaged):
        there = {**record, "measurements": [], "curvature": []}
    if there["weights"] != record["weights"]:
        raise Conflict(f"{path}: holds measurements of other weights than this run's checkpoint")
    for block in record["measurements"]:
        there = add(there, block["settings"], block["rows"])
    for block in record.get("curvature", []):
        there = add_curvature(there, block)
    record = {**{k: there[k] for k in ("traits",) if k in there}, **record}
    record["measurements"] = there["measurements"]
    if there.get("curvature"):
        record["curvature"] = there["curvature"]
    write_whole(path, dumps(record).encode())
    return record


def dumps(record: Record) -> str:
    """Return the record as JSON text, one line for each part."""
    body = {k: record[k] for k in (*KEYS, *OPTIONAL) if k in record}
    body["digest"] = digest(body)
    lines = (f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in body.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def load(path: Path) -> Record:
    """Read a record and check it.

    Raises:
        FileNotFoundError: if there is no such file.
        Damaged: if it is truncated, changed since it was written, or named for another run.
        Foreign: if it is a JSON file of something else (that lacks two of our keys or more) or of
            another format version.
    """
    data = Path(path).read_bytes()
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{path}: not whole JSON ({type(error).__name__})") from None
    if not isinstance(body, dict) or len({*KEYS, "digest"} & set(body)) < len(KEYS):
        raise Foreign(f"{path}: not a record of a run")
    stored = body.pop("digest", None)
    try:
        intact = digest(body) == stored
    except (ValueError, RecursionError):
        intact = False
    if not intact:
        raise Damaged(f"{path}: does not match its digest (damaged, or edited by hand)")
    if body.get("format") != FORMAT:
        raise Foreign(f"{path}: record format {body.get('format')!r}, this version reads {FORMAT}")
    if set(body) - set(OPTIONAL) != set(KEYS) or path.name != f"{body['run_id']}.json":
        raise Damaged(f"{path}: not the record that its name says")
    return body


def find(path: Path) -> Record | None:
    """Return the record at a path; None where there is no good one."""
    try:
        return load(path)
    except (OSError, Damaged, Foreign):
        return None


def load_all(folder: Path, skip: Collection[str] = frozenset()) -> tuple[list[Record], list[str]]:
    """Read every record in `folder`, in order of name, but for those of the runs to `skip`.

    Returns:
        The records, and a message for each `.json` file that is not a good one.
    """
    good, problems = [], []
    for path in sorted(p for p in folder.glob("*.json") if p.stem not in skip):
        try:
            good.append(load(path))
        except (Damaged, Foreign, OSError) as error:
            problems.append(str(error))
    return good, problems
