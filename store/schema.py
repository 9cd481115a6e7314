"""What a record may hold: checked whenever one is read, so that nothing absurd enters a table.

A right digest says that a file is as it was written, not that what was written makes sense. The
types below are the whole of what is allowed; a key that is added later is one line here, with
`UNSET` as its default. They are checked by msgspec, which takes 7 µs for a record (and 12 ms to
import); its types are not what the rest of the program sees, which is plain data.
"""

import json
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from config import digest, name_of
from store.files import Damaged, Foreign
from store.own import SCORE_UNIT

FORMAT = 1

Some = Annotated[int, Meta(ge=1, le=2**53)]
Count = Annotated[int, Meta(ge=0, le=2**53)]  # what every reader of JSON holds exactly
NotNegative = Annotated[float, Meta(ge=0)]
Scalar = bool | int | float | str
Name = Annotated[str, Meta(min_length=1, max_length=200)]


class Strict(Struct, forbid_unknown_fields=True):
    """Of these keys, and no others."""


class Identity(Strict):
    """`config.Run.identity`; recipes of other versions have other knobs."""

    architecture: Name
    regime: Name
    seed: Count
    recipe: dict[str, Scalar | list[str]]
    recipe_version: int
    weights: Name | UnsetType = UNSET  # of somebody's own model: see `store.own`
    method: dict[str, Scalar] | UnsetType = UNSET


class Training(Struct):
    """What is read of the provenance of a training; whatever else it says is told and not used."""

    epoch_seconds: list[NotNegative] | UnsetType = UNSET


class Measuring(Struct):
    """The same of the measurements."""

    seconds: NotNegative | UnsetType = UNSET


class Provenance(Struct):
    """The same of both."""

    training: Training | UnsetType = UNSET
    measuring: Measuring | UnsetType = UNSET


class Settings(Strict):
    """What measurements share that stand in one table."""

    noise_seed: Count | UnsetType = UNSET
    test_size: Count | UnsetType = UNSET
    train_part: Count | UnsetType = UNSET
    probes: Count | UnsetType = UNSET
    pairs: Count | UnsetType = UNSET
    noise: Name | UnsetType = UNSET
    batchnorm: Literal["reestimated"] | UnsetType = UNSET


class Row(Strict, array_like=True):
    """`records.Row`; its size is there for other noise than the Gaussian."""

    alpha: NotNegative
    draw: Count
    sign: Literal[1, -1]
    correct: int
    total: Some
    loss: float | None
    size: NotNegative | None = None


class Measurements(Strict):
    """What was measured under the same settings."""

    settings: Settings
    rows: list[Row]


class Curvature(Strict):
    """Estimates of the Hessian's quadratic forms: by parameter, one for each probe."""

    settings: Settings
    images: Some
    forms: Annotated[
        dict[str, Annotated[list[float | None], Meta(min_length=1)]], Meta(min_length=1)
    ]


class Traits(Strict):
    """What a record says of its model."""

    chance: float  # of accuracy in [0, 1]: see `check`
    batchnorm: bool


class Realised(Strict):
    """What training came to: its cost in epochs of plain training, the ‖ε‖/‖w‖ of its
    perturbations, mean of each epoch, and what the training of its teacher cost."""

    cost: NotNegative
    teacher: NotNegative | UnsetType = UNSET
    sizes: list[NotNegative | None] | UnsetType = UNSET


class Record(Strict):
    """A record without its digest; what is not listed here is in none."""

    format: int
    run_id: Name
    identity: Identity
    weights: Name
    history: list[float]
    provenance: Provenance
    measurements: list[Measurements]
    traits: Traits | UnsetType = UNSET
    realised: Realised | UnsetType = UNSET
    curvature: list[Curvature] | UnsetType = UNSET


KEYS = tuple(f.name for f in msgspec.structs.fields(Record) if f.required)
"""Keys of every record."""
OPTIONAL = tuple(f.name for f in msgspec.structs.fields(Record) if not f.required)
"""Keys of a record that it may lack."""


def parse(path: Path, data: bytes) -> Record:
    """Return the record that bytes are, which stand in `path`; and check it.

    Raises:
        files.Damaged, files.Foreign: as `records.load`.
    """
    try:
        body = json.loads(data, object_pairs_hook=unique)
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
    if unknown := sorted(set(body) - {*KEYS, *OPTIONAL}):
        named = ascii(", ".join(unknown))[:100]
        raise Foreign(f"{path}: a record with keys that this version does not know: {named}")
    try:
        check(body)
    except ValueError as error:
        reason = " ".join(str(error).split())[:200]
        raise Damaged(f"{path}: not a record as they are written ({reason})") from None
    if path.name != f"{body['run_id']}.json":
        raise Damaged(f"{path}: not the record that its name says")
    return body


def unique(pairs: list[tuple]) -> dict:
    """Return an object of JSON in which no key stands twice, or ValueError."""
    body = dict(pairs)
    if len(body) < len(pairs):
        raise ValueError("a key stands twice")
    return body


def check(record: dict) -> None:
    """Check all of a record that its digest does not tell: types, bounds, and what must agree.

    Raises:
        ValueError: in a few words, if it is not one.
    """
    try:
        msgspec.convert(record, Record)
    except msgspec.ValidationError as error:
        raise ValueError(error) from None
    name = name_of(record["identity"])
    if record["run_id"] != name:
        raise ValueError(f"its run_id is not that of its identity, {name}")
    if not record["history"] and "weights" not in record["identity"]:
        raise ValueError("history: a training without epochs")  # of own models it is not known
    for part in ("measurements", "curvature"):
        settings = [sorted(block["settings"].items()) for block in record.get(part, [])]
        if any(one in settings[:n] for n, one in enumerate(settings)):
            raise ValueError(f"{part} of the same settings stand apart")
    chance = record.get("traits", {}).get("chance", 0.0)
    for block in record["measurements"]:
        check_rows(block["rows"])
        if not 0 <= chance <= 1 and any(row[4] != SCORE_UNIT for row in block["rows"]):
            raise ValueError(f"traits: accuracy of guessing is {chance:g}")
    for block in record.get("curvature", []):
        if len({len(found) for found in block["forms"].values()}) > 1:
            raise ValueError("curvature: some parameters have more probes than others")


def check_rows(rows: list[list]) -> None:
    """Check that rows are in the order of their keys, each there once, and count no more than all.

    Raises:
        ValueError: if not.
    """
    last = (-1.0,)
    for alpha, draw, sign, correct, total, *_ in rows:
        key = (alpha, draw, sign)
        if not last < key:
            raise ValueError(f"measurements: α = {alpha:g}, draw {draw} twice, or out of order")
        if total != SCORE_UNIT and not 0 <= correct <= total:
            raise ValueError(f"measurements: {correct} of {total} correct at α = {alpha:g}")
        last = key
