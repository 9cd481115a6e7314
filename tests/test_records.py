"""records.py: measurements are added and never changed, and a damaged file never passes for one."""

import itertools
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.needs import needs
from config import Run, Sweep, digest
from damage import damaged, edited, flip, json_values, rewrite, snapshot
from store import records
from store.files import Damaged, Foreign
from store.records import FORMAT, Conflict, add, rows
from store.schema import Provenance

RUN = Run("mlp", "clean", 0)
TEST = {"test_size": 0, "noise_seed": 0}
OTHER = {"test_size": 100, "noise_seed": 3}


def row(alpha: float, draw: int, correct: int = 9, loss: float | None = 0.5) -> list:
    return [alpha, draw, 1, correct, 10, loss]


ROWS = [row(0.0, 0, 10), row(0.1, 0), row(0.1, 1, 8), row(0.5, 0, 5, None)]
EMPTY = records.new(RUN, "digest of weights", [0.5, 0.25], {"torch": "2.14.1", "threads": 1})
RECORD = add(EMPTY, TEST, ROWS)
TEXT = records.dumps(RECORD).encode()


@pytest.fixture
def path(tmp_path):
    """The file of the run's record, not there yet."""
    return tmp_path / f"{RUN.run_id}.json"


# ---- Adding ----------------------------------------------------------------------------------


def test_a_new_measurement_is_added_and_none_is_changed():
    more = add(RECORD, TEST, [row(0.1, 0, correct=1), row(0.2, 0)])
    assert rows(more, TEST) == sorted([*ROWS, row(0.2, 0)], key=records.key)
    assert rows(RECORD, TEST) == ROWS  # the one that was given is as it was


def test_measurements_under_other_settingsstand_apart():
    both = add(RECORD, OTHER, [row(0.1, 0, correct=1)])
    assert rows(both, TEST) == ROWS and rows(both, OTHER) == [row(0.1, 0, correct=1)]
    assert rows(both, {"test_size": 1, "noise_seed": 0}) == []


@pytest.mark.parametrize("order", [*itertools.permutations(range(4))])
def test_the_order_of_adding_leaves_no_trace(order):
    record = EMPTY
    for n in order:
        record = add(record, OTHER if n == 3 else TEST, [ROWS[n]])
    assert record == add(add(EMPTY, OTHER, ROWS[3:]), TEST, ROWS[:3])


def test_missing_is_what_the_sweep_asks_for_and_the_record_lacks():
    sweep = Sweep(alphas=(0, 0.1, 0.5), draws=2)
    assert [block.points for block in needs(RECORD, sweep)] == [[(0.5, 1, 1)]]
    assert needs(None, sweep) == needs(EMPTY, sweep)
    assert [block.points for block in needs(EMPTY, sweep)] == [sweep.points]
    assert needs(RECORD, Sweep(alphas=(0,), draws=9)) == []
    ((images, settings, points),) = needs(RECORD, Sweep(alphas=(0,), noise_seed=1))
    assert (images, len(points)) == ("test", 1) and settings["noise_seed"] == 1


CURVATURE = {"settings": {"noise_seed": 0}, "images": 9, "forms": {"w": [0.5, -0.1]}}
PARTS = [
    EMPTY,
    RECORD,
    add(EMPTY, TEST, ROWS[:2]),
    add(EMPTY, TEST, [*ROWS[1:], row(0.5, 1)]),  # another number of draws
    add(add(EMPTY, OTHER, ROWS), TEST, [row(2.0, 0)]),
    records.add_curvature(RECORD, CURVATURE),
]


# ---- Saving ----------------------------------------------------------------------------------


def test_a_record_is_read_back_as_it_was_written(path):
    for record in PARTS:
        path.unlink(missing_ok=True)
        assert records.save(path, record) == record == records.load(path)


@given(
    measured=st.lists(
        st.tuples(
            st.floats(0, 1e300),
            st.integers(0, 2**53),
            st.sampled_from([1, -1]),
            st.integers(0, 10_000),
            st.integers(10_000, 2**53),
            st.none() | st.floats(allow_nan=False, allow_infinity=False),
        ).map(list)
    ),
    provenance=st.dictionaries(
        st.text().filter(lambda key: key not in Provenance.__struct_fields__),
        st.text() | st.integers() | st.floats(0, 1),
    ),
)
def test_any_measurements_survive_the_disk(scratch, measured, provenance):
    record = add({**EMPTY, "provenance": provenance}, TEST, measured)
    path = scratch / f"{RUN.run_id}.json"
    rewrite(path, records.dumps(record).encode())
    assert records.load(path) == record


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_loss_that_is_not_finite_must_be_null(path, value):
    """JSON has no NaN: such a file could not be read elsewhere."""
    records.save(path, RECORD)
    with pytest.raises(ValueError):
        records.save(path, add(RECORD, TEST, [row(2.0, 0, loss=value)]))
    assert path.read_bytes() == TEXT


def test_saving_keeps_what_another_process_has_added(path):
    records.save(path, add(EMPTY, TEST, [row(0.1, 0, correct=1), row(0.2, 0)]))
    saved = records.save(path, add(RECORD, OTHER, ROWS))
    assert saved == records.load(path)
    assert rows(saved, TEST) == [ROWS[0], row(0.1, 0, correct=1), ROWS[2], row(0.2, 0), ROWS[3]]
    assert rows(saved, OTHER) == ROWS


def test_saving_over_other_weights_is_refused(path):
    records.save(path, RECORD)
    with pytest.raises(Conflict, match="of other weights"):
        records.save(path, {**RECORD, "weights": "others"})
    assert path.read_bytes() == TEXT


def test_saving_replaces_a_damaged_file_and_never_a_foreign_one(path):
    path.write_bytes(TEXT[:-9])
    assert records.save(path, EMPTY) == EMPTY == records.load(path)
    path.write_bytes(b"[]")
    with pytest.raises(Foreign):
        records.save(path, RECORD)
    assert path.read_bytes() == b"[]"


def test_a_full_disk_leaves_the_old_record(path, monkeypatch):
    records.save(path, RECORD)

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        records.save(path, add(RECORD, TEST, [row(2.0, 0)]))
    assert [p.read_bytes() for p in path.parent.iterdir()] == [TEXT]


# ---- Reading what is wrong -------------------------------------------------------------------


def signed(**changes) -> bytes:
    """The record with other entries, and a digest that says that it is meant so."""
    body = {**RECORD, **changes}
    return json.dumps({**body, "digest": digest(body)}).encode()


def test_every_flipped_bit_is_seen(path):
    harmless = 0
    for bit in range(8 * len(TEXT)):
        rewrite(path, flip(TEXT, bit))
        try:
            assert records.load(path) == RECORD
            harmless += 1
        except Damaged:
            pass
    assert harmless < len(TEXT) / 10  # a space that became a line feed, for example


def test_every_truncation_is_seen(path):
    for size in range(len(TEXT) - 1):  # the last byte is a line feed
        rewrite(path, TEXT[:size])
        with pytest.raises(Damaged, match="not whole JSON"):
            records.load(path)


EDITS = {
    "a count": TEXT.replace(b"0.1, 1, 1, 8, 10", b"0.1, 1, 1, 9, 10"),
    "a loss that is NaN": TEXT.replace(b"10, null", b"10, NaN"),
    "a loss beyond floats": TEXT.replace(b"10, null", b"10, 1e999"),
    "a row removed": TEXT.replace(b", [0.5, 0, 1, 5, 10, null]", b""),
    "the seed": TEXT.replace(b'"seed": 0', b'"seed": 1'),
    "no digest": TEXT.replace(b'"digest"', b'"Digest"'),
    "no format": TEXT.replace(b'"format"', b'"Format"'),
    "not of its name": signed(run_id="mlp-clean-seed1-0123456789"),
    "a digit more than Python reads": TEXT.replace(b"1, 8, 10", b"1, 8, " + b"1" * 5000),
    "nested too deep": b"[" * 100_000,
    "empty": b"",
    "zeros": bytes(100),
    "not UTF-8": b'{"run_id": "\xff"}',
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_record_edited_by_hand_is_damaged(path, edit):
    assert EDITS[edit] != TEXT
    path.write_bytes(EDITS[edit])
    with pytest.raises(Damaged, match=path.name):
        records.load(path)


FOREIGN = {
    "a key more, of a later version": signed(comment="mine"),
    "an older format": signed(format=FORMAT - 1),
    "a later format": signed(format=FORMAT + 1),
    "a later format with other keys": signed(format=FORMAT + 1, scale="std"),
    "a list": b"[1, 2]",
    "a number": b"1",
    "null": b"null",
    "some results": b'{"accuracy": 0.98, "run_id": "mlp", "format": 1, "digest": "ab"}',
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_file_is_told_from_a_damaged_one(path, kind):
    path.write_bytes(FOREIGN[kind])
    with pytest.raises(Foreign, match=path.name):
        records.load(path)
    assert path.read_bytes() == FOREIGN[kind]


def test_another_layout_of_the_same_content_is_the_same_record(path):
    body = dict(reversed(json.loads(TEXT).items()))
    path.write_text(json.dumps(body, indent=4))
    assert records.load(path) == RECORD


def test_what_is_not_there_is_not_damaged(path):
    with pytest.raises(FileNotFoundError):
        records.load(path)
    assert records.load_all(path.parent / "nowhere") == ([], [])


def test_a_folder_is_read_in_order_and_every_bad_file_is_named(tmp_path):
    runs = [Run("mlp", regime, seed) for seed in (1, 0) for regime in ("noisy", "clean")]
    for run in runs:
        records.save(tmp_path / f"{run.run_id}.json", records.new(run, "w", [0.5], {}))
    (tmp_path / "broken.json").write_bytes(TEXT[:50])
    (tmp_path / "foreign.json").write_bytes(b"{}")
    (tmp_path / "folder.json").mkdir()
    for name in (".a.json.0123456789ab.tmp", "a.json.corrupt", "notes.txt"):
        (tmp_path / name).write_bytes(b"")  # not named as records are: no word about them
    before = snapshot(tmp_path)
    good, problems = records.load_all(tmp_path)
    assert [record["run_id"] for record in good] == sorted(run.run_id for run in runs)
    assert len(problems) == 3
    for name, message in zip(("broken", "folder", "foreign"), problems, strict=True):
        assert f"{name}.json" in message and "\n" not in message
    assert snapshot(tmp_path) == before


# ---- Files that are anything -----------------------------------------------------------------


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("records")


def refused_or_true(folder, data: bytes) -> None:
    """Read bytes as a record: they are refused in one line, or are what they were written as."""
    path = folder / f"{RUN.run_id}.json"
    rewrite(path, data)
    before = snapshot(folder)
    try:
        record = records.load(path)
    except (Damaged, Foreign) as error:
        assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
    else:
        body = json.loads(data)
        assert body.pop("digest") == digest(record) and body == record
        assert record["format"] == FORMAT and record["run_id"] == RUN.run_id
    assert snapshot(folder) == before


@given(st.binary(max_size=200) | json_values.map(lambda v: json.dumps(v).encode()) | damaged(TEXT))
def test_any_bytes_are_refused_or_are_a_record(scratch, data):
    refused_or_true(scratch, data)


@given(body=edited(json.loads(TEXT)), sign=st.booleans())
def test_any_edit_is_refused_or_is_a_record(scratch, body, sign):
    if sign:
        body.pop("digest", None)
        try:
            body["digest"] = digest(body)
        except ValueError:  # NaN
            body["digest"] = ""
    refused_or_true(scratch, json.dumps(body).encode())
