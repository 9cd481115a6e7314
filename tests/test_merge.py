"""merge.py: a union that commutes and repeats, and contradictions that are named."""

import itertools

import pytest

from config import Run
from store import records
from store.files import Foreign
from store.merge import contradictions, take, with_head
from store.records import add, joined, rows
from test_records import CURVATURE, EMPTY, OTHER, PARTS, RECORD, ROWS, RUN, TEST, row


def merge(mine: records.Record, theirs: records.Record) -> records.Record:
    return joined(mine, with_head(theirs, mine), wins=False)


@pytest.mark.parametrize(("a", "b"), [*itertools.combinations_with_replacement(PARTS, 2)])
def test_merging_commutes_and_repeats(a, b):
    union = merge(a, b)
    assert union == merge(b, a) == merge(union, a) == merge(b, union)
    assert not contradictions(a, b) and not contradictions(union, a)
    for settings in (TEST, OTHER):
        keys = {records.key(r) for r in (*rows(a, settings), *rows(b, settings))}
        assert {records.key(r) for r in rows(union, settings)} == keys


@pytest.fixture
def path(tmp_path):
    """A results folder's file of the run, with the record in it."""
    path = tmp_path / "runs" / f"{RUN.run_id}.json"
    records.save(path, RECORD)
    return path


def test_merging_keeps_the_provenance_of_the_first(path):
    more = add({**RECORD, "provenance": {"threads": 8}}, TEST, [row(3.0, 0)])
    assert take(path, more) == []
    assert records.load(path) == add(RECORD, TEST, [row(3.0, 0)])


MINE = {
    **records.add_curvature(RECORD, CURVATURE),
    "traits": {"chance": 0.1, "batchnorm": False},
    "realised": {"cost": 2.0, "sizes": [0.5, 0.25]},
}


@pytest.mark.parametrize(
    ("theirs", "where"),
    [
        ({**RECORD, "weights": "others"}, "in weights"),
        (records.new(Run("mlp", "clean", 1), "digest of weights", [0.5], {}), "in run_id"),
        (add(EMPTY, TEST, [row(0.1, 1, correct=7)]), "at α = 0.1, draw 1"),
        (add(EMPTY, TEST, [row(0.5, 0, 5, loss=1.0)]), "at α = 0.5, draw 0"),
        (records.add_curvature(EMPTY, {**CURVATURE, "images": 8}), "in curvature (noise seed 0)"),
        ({**EMPTY, "history": [0.5, 0.3]}, "in history, epoch 2"),
        ({**EMPTY, "history": [0.5]}, "in history"),
        ({**EMPTY, "traits": {"chance": 0.5, "batchnorm": False}}, "in traits, chance"),
        ({**EMPTY, "traits": {"chance": 0.1, "batchnorm": True}}, "in traits, batchnorm"),
        ({**EMPTY, "realised": {"cost": 9.0, "teacher": 1.0}}, "in realised, cost"),
        ({**EMPTY, "realised": {"cost": 2.0, "sizes": [0.5, 0.3]}}, "in realised, sizes"),
    ],
)
def test_a_contradiction_is_named(theirs, where):
    for a, b in ((MINE, theirs), (theirs, MINE)):
        [said] = contradictions(a, b)
        assert said == where or (said.startswith(f"{where} (") and "; theirs " in said)


def test_a_contradiction_says_what_both_hold():
    theirs = add(EMPTY, TEST, [row(0.1, 1, correct=7)])
    [mine] = [r for r in ROWS if records.key(r) == (0.1, 1, 1)]
    said = f"{mine[3]} of {mine[4]} correct, loss {mine[5]}"
    assert contradictions(MINE, theirs)[0].startswith(f"at α = 0.1, draw 1 ({said}; theirs 7 of ")
    assert contradictions(MINE, {**RECORD, "weights": "others"}) == [
        "in weights (digest of we; theirs others)"
    ]


def test_of_another_training_the_side_that_is_preferred_stays(path):
    records.put(path, MINE)
    facts = {"traits": {"chance": 0.5, "batchnorm": True}, "realised": {"cost": 9.0}}
    theirs = {**MINE, "history": [9.0, 0.25], **facts}
    [line] = take(path, theirs)
    assert "differ in history, epoch 1 (0.5; theirs 9.0), and in 3 more" in line
    assert records.load(path) == MINE
    assert take(path, theirs, "mine") == [] and records.load(path) == MINE
    assert take(path, theirs, "theirs") == []
    sizes = MINE["realised"]["sizes"]  # of these they say nothing
    assert records.load(path) == {**theirs, "realised": {"cost": 9.0, "sizes": sizes}}


def test_what_one_record_does_not_say_is_no_contradiction(path):
    for a, b in ((MINE, RECORD), (RECORD, MINE)):
        assert contradictions(a, b) == []
    assert take(path, {**MINE, "provenance": {}}) == []  # whose provenance is told, not judged
    assert records.load(path) == {**MINE, "provenance": RECORD["provenance"]}


def test_a_record_that_contradicts_gives_what_agrees(path):
    theirs = add(EMPTY, TEST, [row(0.1, 0, correct=1), row(0.1, 1, correct=1), row(9.0, 0)])
    [line] = take(path, theirs)
    assert line.startswith(f"{RUN.run_id}: two records of it differ at α = 0.1, draw 0 (")
    assert line.endswith("), and in 1 more") and "; theirs 1 of " in line
    assert records.load(path) == add(RECORD, TEST, [row(9.0, 0)])
    assert take(path, theirs, "mine") == []
    assert records.load(path) == add(RECORD, TEST, [row(9.0, 0)])
    assert take(path, theirs, "theirs") == []
    found = rows(records.load(path), TEST)
    assert [r for r in found if r[0] == 0.1] == rows(theirs, TEST)[:2]
    assert len(found) == len(ROWS) + 1
    assert take(path, theirs) == []


def test_a_record_of_other_weights_is_replaced_only_where_that_is_asked(path):
    before, theirs = path.read_bytes(), {**RECORD, "weights": "others"}
    for prefer in ("", "mine"):
        assert len(take(path, theirs, prefer)) == (prefer == "")
        assert path.read_bytes() == before
    assert take(path, theirs, "theirs") == []
    assert records.load(path) == theirs
    assert path.with_name(f"{path.name}.replaced").read_bytes() == before


def test_a_foreign_file_is_never_replaced(path):
    path.write_bytes(b"[]")
    for prefer in ("", "mine", "theirs"):
        with pytest.raises(Foreign):
            take(path, RECORD, prefer)
    assert path.read_bytes() == b"[]"
