"""Which test images were answered right: a bit per image and measurement, beside the records.

A run's bits are in one file, `runs.images/<run_id>.<digest of its weights>.bits`, written whole,
united with what other processes write (as records are, see `shared`), and never needed: where it is
absent, damaged or says something else than the record does, its images just do not count. No torch.

The file begins with one line of JSON, the keys of `KEYS`:

    format   version of this layout
    run_id   the run
    weights  SHA-256 of the trained tensors, as in the record
    blocks   [{"settings": {...}, "rows": [[alpha, draw, sign, correct, total, loss, ...], ...]}]
    digest   SHA-256 of the line without it (sorted compact JSON), then of all that follows

The bits follow, of each row in that order, ⌈total/8⌉ bytes: the first image is the highest bit of
the first byte, what is left of the last byte is 0 (`numpy.packbits`). A default run takes 250 KB:
10,000 images × about 200 measurements / 8; twice that where BatchNorm is measured apart.

Each row stands here in full. Bits count for a measurement where their row is the record's and as
many of them are 1 as it says were right: so bits of a measurement that a killed process did not
come to record, or that another process measured too, can do no harm.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np

from config import digest
from store import shared
from store.files import Damaged, Foreign
from store.records import Key, Record, key, rows
from store.shared import View

FORMAT = 1
KEYS = ("format", "run_id", "weights", "blocks", "digest")
ABSENT = (OSError, Damaged, Foreign)
"""What a file that does not count raises when it is read."""


@dataclass(frozen=True)
class Answers:
    """Which images a run answered right."""

    run_id: str
    weights: str
    bits: dict[tuple[str, str], bytes] = field(default_factory=dict)
    """By settings and row, both as sorted compact JSON: packed bits, the images in their order."""

    def add(self, settings: Mapping, row: list, right: np.ndarray) -> None:
        """Add a measurement: the row as it goes into the record, and (total,) booleans."""
        self.bits[compact(settings), compact(row)] = np.packbits(right).tobytes()

    def joined(self, other: "Answers") -> "Answers":
        """Return these with those of the same run and weights that another has."""
        return Answers(self.run_id, self.weights, {**other.bits, **self.bits})


def path_of(runs: Path, run_id: str, weights: str) -> Path:
    """Return where the bits of a run are kept, beside the folder of records; those of other weights
    have another file."""
    return images_folder(runs) / f"{run_id}.{digest(weights)[:12]}.bits"


def images_folder(runs: Path) -> Path:
    """Return the folder of all bits, beside that of the records."""
    return runs.with_name(f"{runs.name}.images")


def parts_folder(runs: Path) -> Path:
    """Return where bits are while they are being written."""
    return runs.with_name(f"{runs.name}.images.parts")


def leave(runs: Path, answers: Answers) -> None:
    """Keep bits while a run is being measured, at little cost, and take them from `answers`; `save`
    brings them into the file. To be done before its record is written, not after: a row that is in
    the record is never measured again.

    Raises:
        OSError: if they cannot be written.
    """
    if answers.bits:
        path = path_of(runs, answers.run_id, answers.weights)
        shared.leave(path, parts_folder(runs), "add", dumps(answers))
        answers.bits.clear()


def save(runs: Path, answers: Answers) -> None:
    """Add a run's bits to its file, and those that it left; before its record is written.

    Raises:
        Foreign: if something stands there that is no file.
        OSError: if it cannot be written.
    """
    if not answers.bits:
        return
    path, folder = path_of(runs, answers.run_id, answers.weights), parts_folder(runs)

    def fold(view: View) -> bytes:
        found = united(path, view)
        if found is None or found.weights != answers.weights:
            raise Foreign(f"{path}: holds the answers of another run")  # cannot be: see `path_of`
        return dumps(found)

    shared.add(path, folder, "add", dumps(answers), fold, absorb=True)
    shared.clear(folder)


def find(runs: Path, run_id: str, weights: str) -> Answers | None:
    """Return the bits of a run; None where there are no good ones of these weights."""
    path = path_of(runs, run_id, weights)
    try:
        found = united(path, shared.look(path, parts_folder(runs)))
    except ABSENT:
        return None
    return found if found and (found.run_id, found.weights) == (run_id, weights) else None


def take(mine: Path, theirs: Path, record: Record) -> None:
    """Add the bits of a record in another folder of records to ours, where there are any."""
    if found := find(theirs, record["run_id"], record["weights"]):
        save(mine, found)


def united(path: Path, view: View) -> Answers | None:
    """Return the union of a file of bits and its parts; of the file nothing if it is damaged."""
    found = None
    for data in (view.whole, *(part.data for part in view.parts)):
        try:
            more = parse(path, data) if data is not None else None
        except (Damaged, Foreign):
            continue
        if more:
            found = found.joined(more) if found else more
    return found


def agreeing(record: Record, settings: dict, answers: Answers) -> dict[Key, bytes]:
    """Return the packed bits of those rows of a record that have some and agree with them."""
    name, found = compact(settings), {}
    for row in rows(record, settings):
        bits = answers.bits.get((name, compact(row)))
        if bits is not None and count(bits) == row[3]:
            found[key(row)] = bits
    return found


def unpack(bits: bytes, total: int) -> np.ndarray:
    """Return packed bits as (total,) booleans."""
    return np.unpackbits(np.frombuffer(bits, np.uint8), count=total).view(bool)


def compact(data) -> str:
    """Return plain JSON data as text, the same for the same data."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"))


def count(bits: bytes) -> int:
    """Return how many of packed bits are 1."""
    return int.from_bytes(bits, "big").bit_count()


def dumps(answers: Answers) -> bytes:
    """Return the bytes of a file; the same answers, the same bytes."""
    blocks: dict[str, list] = {}
    order = sorted(answers.bits, key=lambda k: (k[0], json.loads(k[1])[:3], k[1]))
    for settings, row in order:
        blocks.setdefault(settings, []).append(json.loads(row))
    head = {
        "format": FORMAT,
        "run_id": answers.run_id,
        "weights": answers.weights,
        "blocks": [{"settings": json.loads(s), "rows": found} for s, found in blocks.items()],
    }
    body = b"".join(answers.bits[k] for k in order)
    return f"{json.dumps({**head, 'digest': seal(head, body)})}\n".encode() + body


def seal(head: dict, body: bytes) -> str:
    """Return the digest of a file's first line, without it, and of its bits."""
    return sha256(compact(head).encode() + body).hexdigest()


def parse(path: Path, data: bytes) -> Answers:
    """Return the answers that bytes are, which stand in `path`.

    Raises:
        Foreign: of another format, or not of this kind at all.
        Damaged: cut short or changed since it was written.
    """
    line, _, body = data.partition(b"\n")
    try:
        head = json.loads(line)
        stored = head.pop("digest")
        ours = set(head) == {*KEYS} - {"digest"} and head["format"] == FORMAT
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        raise Damaged(f"{path}: not a whole file of answers") from None
    if not ours:
        raise Foreign(f"{path}: not a file of answers of this version")
    if seal(head, body) != stored:
        raise Damaged(f"{path}: does not match its digest (damaged, or edited by hand)")
    try:
        bits = dict(split(head["blocks"], body))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise Damaged(f"{path}: not answers as they are written ({error})") from None
    return Answers(head["run_id"], head["weights"], bits)


def split(blocks: Iterable[dict], body: bytes) -> Iterable[tuple[tuple[str, str], bytes]]:
    """Yield the bits of each row with their key, or raise ValueError if they are not as many."""
    place = 0
    for block in blocks:
        for row in block["rows"]:
            size = -(-row[4] // 8)
            if not 0 < size <= len(body) - place:
                raise ValueError("fewer bits than its rows say")
            yield (compact(block["settings"]), compact(row)), body[place : place + size]
            place += size
    if place != len(body):
        raise ValueError("more bits than its rows say")
