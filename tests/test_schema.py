"""schema.py: a right digest is not taken for right content; nothing absurd enters a table."""

import copy
import json
import os
from pathlib import Path

import pytest

import report
from config import digest
from conftest import ROOT
from damage import rewrite
from reporting.results import find_missing, read
from store import records
from store.files import Damaged, Foreign
from store.plan_file import load_plan, plan_path

REAL = next((ROOT / "results" / "reference" / "runs").glob("mlp-noisy-seed0-*.json"))
BODY = {k: v for k, v in json.loads(REAL.read_text()).items() if k != "digest"}
for block in BODY["measurements"]:  # a few rows of each kind
    block["rows"] = block["rows"][:3]


def spots(body, path=()):
    """Every place in JSON data."""
    for key in body if isinstance(body, dict) else range(len(body)):
        yield (*path, key)
        if isinstance(body[key], (dict, list)):
            yield from spots(body[key], (*path, key))


VALUES = (None, True, -1, 0, 0.5, 10**30, "x", "a\nb", [], {}, [1], {"x": None})
SPOTS = [*spots(BODY)]


def edits(body, path):
    """The body without one part, with it twice or renamed, and with other values in its place."""
    for change in ("delete", "rename", "twice", *range(len(VALUES))):
        changed = copy.deepcopy(body)
        spot = changed
        for key in path[:-1]:
            spot = spot[key]
        key = path[-1]
        if change == "delete":
            del spot[key]
        elif change == "rename" and isinstance(spot, dict):
            spot["other"] = spot.pop(key)
        elif change == "twice" and isinstance(spot, list):
            spot.append(spot[key])
        elif isinstance(change, int):
            spot[key] = VALUES[change]
        yield changed


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A results folder with a plan and the real record."""
    folder = tmp_path_factory.mktemp("results")
    (folder / "runs").mkdir()
    plan = ROOT / "results" / "reference" / "plan.json"
    plan_path(folder).write_bytes(plan.read_bytes())
    return folder


@pytest.mark.slow
def test_every_edit_of_every_key_is_refused_in_one_line_or_enters_the_tables(folder):
    path, accepted, kinds = folder / "runs" / REAL.name, 0, {}
    plan = load_plan(folder)
    for spot in SPOTS:
        for body in edits(BODY, spot):
            rewrite(path, json.dumps({**body, "digest": digest(body)}).encode())
            found, problems = records.load_all(folder / "runs")
            assert len(found) + len(problems) == 1
            if problems:
                assert "\n" not in problems[0] and len(problems[0]) < 600
                continue
            accepted += 1
            find_missing(plan, plan.select(found)[0])
            if kinds.setdefault((len(spot), str(spot[-1])), 0) < 2:
                kinds[len(spot), str(spot[-1])] += 1
                read(folder)
    assert 0 < accepted < 0.4 * len(SPOTS) * (3 + len(VALUES))


def signed(path: Path, body: dict) -> Path:
    rewrite(path, json.dumps({**body, "digest": digest(body)}).encode())
    return path


def changed(change) -> dict:
    body = copy.deepcopy(BODY)
    change(body)
    return body


ABSURD = {
    "more correct than there are": lambda b: b["measurements"][0]["rows"][0].__setitem__(3, 10**6),
    "a row twice": lambda b: b["measurements"][0]["rows"].insert(
        0, b["measurements"][0]["rows"][0]
    ),
    "seed 1 in seed 0's file": lambda b: b["identity"].__setitem__("seed", 1),
    "a sign of 2": lambda b: b["measurements"][0]["rows"][1].__setitem__(2, 2),
    "a negative α": lambda b: b["measurements"][0]["rows"][0].__setitem__(0, -0.5),
    "half an image": lambda b: b["measurements"][0]["rows"][0].__setitem__(3, 0.5),
    "settings twice": lambda b: b["measurements"].append(b["measurements"][0]),
    "an unknown setting": lambda b: b["measurements"][0]["settings"].__setitem__("colour", 1),
    "a training without epochs": lambda b: b["history"].clear(),
    "probes of other number": lambda b: next(iter(b["curvature"][0]["forms"].values())).pop(),
}


@pytest.mark.parametrize("kind", ABSURD)
def test_what_no_measurement_can_give_is_refused(tmp_path, kind):
    path = signed(tmp_path / REAL.name, changed(ABSURD[kind]))
    with pytest.raises(Damaged, match=REAL.name):
        records.load(path)


def test_optional_keys_are_allowed_and_a_key_twice_is_not(tmp_path):
    more = {"traits": {"chance": 0.1, "batchnorm": True}}
    body = changed(lambda b: b["measurements"][0]["settings"].update(batchnorm="reestimated"))
    path = signed(tmp_path / REAL.name, {**body, **more})
    assert records.load(path) == {**body, **more}
    text = path.read_text()
    path.write_text(text.replace('"format": 1', '"format": 1, "format": 1'))
    with pytest.raises(Damaged):
        records.load(path)


@pytest.mark.parametrize("name", ["x.json", REAL.name])
def test_a_pipe_is_not_waited_for(folder, tmp_path, name):
    (tmp_path / "runs").mkdir()
    os.mkfifo(tmp_path / "runs" / name)
    found, problems = records.load_all(tmp_path / "runs")
    assert not found and len(problems) == 1 and "not a regular file" in problems[0]
    with pytest.raises(Foreign):
        records.load(tmp_path / "runs" / name)
    os.mkfifo(plan_path(tmp_path))
    with pytest.raises(Damaged, match="not a regular file"):
        report.rebuild(tmp_path)
