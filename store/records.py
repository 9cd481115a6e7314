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

import contextlib
import json
from bisect import bisect_left
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from config import Run, digest
from store import shared
from store.files import Damaged, Foreign, read_regular, set_aside
from store.schema import FORMAT, KEYS, OPTIONAL, check, parse
from store.shared import View


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


COLUMNS = Row._fields[:6]
"""Columns of every measurement row: strength α, draw number, sign of the draw, counts, loss."""
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
    blocks = list(record["measurements"])
    place = next((n for n, b in enumerate(blocks) if b["settings"] == settings), len(blocks))
    known = list(blocks[place]["rows"]) if place < len(blocks) else []
    for row in new_rows:
        spot = bisect_left(known, list(key(row)))  # in front of the row of this key
        if spot == len(known) or key(known[spot]) != key(row):
            known.insert(spot, list(row))
    blocks[place:] = [{"settings": dict(settings), "rows": known}, *blocks[place + 1 :]]
    if len(blocks) > len(record["measurements"]):
        blocks.sort(key=lambda b: json.dumps(b["settings"], sort_keys=True))
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


def save(path: Path, record: Record) -> Record:
    """Add a record to its file; whatever other processes add at the same time is in it, too.

    Where two measured the same, what was there first stays; `shared` says how nothing is lost.

    Returns:
        The record as written.

    Raises:
        Conflict: if the file there is of other weights: nothing is written.
        Foreign: if the file there is not a record.
        OSError: if it cannot be written.
    """
    return _add(path, "add", record)


def put(path: Path, record: Record) -> Record:
    """Do as `save`, but where two disagree keep this one; a file of other weights is set aside."""
    try:
        if load(path)["weights"] != record["weights"]:
            aside = set_aside(path, "replaced")
            # Where another process was faster, it is of these weights.
            with contextlib.suppress(FileNotFoundError, Damaged, Foreign):
                if (moved := parse(path, read_regular(aside)))["weights"] == record["weights"]:
                    _add(path, "put", moved)
    except FileNotFoundError:
        pass
    except Damaged:
        set_aside(path)
    return _add(path, "put", record)


def _add(path: Path, kind: str, record: Record) -> Record:
    found = record

    def fold(view: View) -> bytes:
        nonlocal found
        found, data = united(path, view)
        if found["weights"] != record["weights"]:
            raise Conflict(f"{path}: holds measurements of other weights than this run's")
        return data

    check(record)  # what cannot be read back is not written
    data = dumps(record).encode()
    folder = parts_folder(path.parent)
    try:
        shared.add(path, folder, kind, data, fold, absorb=kind == "add")
    except Conflict:  # the first, if it has ended meanwhile, left its part to whoever ends last
        shared.tidy(path, folder, lambda view: united(path, view)[1])
        raise
    return found


def parts_folder(runs: Path) -> Path:
    """Return where the parts of records that are being written are, beside their folder."""
    return runs.with_name(f"{runs.name}.parts")


def united(path: Path, view: View) -> tuple[Record, bytes]:
    """Return the union of a record's file and its parts, and the bytes of its file.

    Raises:
        FileNotFoundError: if there is none.
        Damaged, Foreign: as `parse`, of the file.
    """
    whole, damage = None, FileNotFoundError(2, "No such file", str(path))
    if view.whole is not None:
        try:
            whole = parse(path, view.whole)
        except Damaged as error:
            damage = error
    found = whole
    for part in view.parts:
        try:
            more = parse(path, part.data)
        except (Damaged, Foreign):  # cut short by a power cut
            continue
        found = more if found is None else joined(found, more, part.kind == "put")
    if found is None:
        raise damage
    return found, view.whole if found is whole else dumps(found).encode()


def joined(there: Record, more: Record, wins: bool) -> Record:
    """Return a record with what another adds to it; `there` itself if that is nothing.

    Of other weights nothing is added. Who adds something says the provenance.

    Args:
        there, more: the two.
        wins: whether `more` counts where they disagree.
    """
    if there["weights"] != more["weights"]:
        return more if wins else there
    first, then = (more, there) if wins else (there, more)
    grown = {**there, "history": first["history"], "measurements": []}
    for part in ("traits", "realised"):
        if part in first or part in then:
            grown[part] = {**then.get(part, {}), **first.get(part, {})}
    for record in (first, then):
        for block in record["measurements"]:
            grown = add(grown, block["settings"], block["rows"])
    blocks = [*first.get("curvature", []), *then.get("curvature", [])]
    grown = {k: v for k, v in grown.items() if k != "curvature"}
    for block in blocks:
        grown = add_curvature(grown, block)
    if grown == there:
        return there
    return {**grown, "provenance": more["provenance"]}


def dumps(record: Record) -> str:
    """Return the record as JSON text, one line for each part."""
    body = {k: record[k] for k in (*KEYS, *OPTIONAL) if k in record}
    body["digest"] = digest(body)
    lines = (f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in body.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def load(path: Path) -> Record:
    """Read a record, with what is being added to it at this moment, and check it.

    Raises:
        FileNotFoundError: if there is none.
        Damaged: if it is truncated, changed since it was written, of another run than its name
            says, or holds what no measurement can give.
        Foreign: if it is a JSON file of something else (that lacks two of our keys or more), of
            another format version or with keys that this version does not know, or no file.
    """
    path = Path(path)
    return united(path, shared.look(path, parts_folder(path.parent)))[0]


def settle(path: Path) -> None:
    """Bring into a record's file what a writer that was killed has left beside it."""
    if shared.of_file(path, parts_folder(path.parent)):
        save(path, load(path))


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
    shared.clear(parts_folder(folder))
    shared_now = shared.stems(parts_folder(folder))
    paths = {*folder.glob("*.json"), *(folder / f"{stem}.json" for stem in shared_now)}
    for path in sorted(p for p in paths if p.stem not in skip):
        try:
            known = path.stem in shared_now
            good.append(load(path) if known else parse(path, read_regular(path)))
        except FileNotFoundError:  # taken away meanwhile, or begun by a writer that gave up
            continue
        except (Damaged, Foreign, OSError) as error:
            problems.append(str(error))
    return good, problems
