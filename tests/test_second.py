"""runner/second.py: the second stage waits for all runs of an architecture, and says so."""

import pytest

from runner import second
from store import records
from store.folders import Folders
from store.plan_file import ask, load_plan
from test_stages import PLAN, RECORDS


@pytest.fixture
def folders(tmp_path):
    ask(tmp_path, PLAN)
    return Folders(tmp_path / "data", tmp_path / "checkpoints", tmp_path)


def put(folders, runs) -> None:
    for run in runs:
        records.save(folders.record(run), RECORDS[run])


def test_a_shard_in_its_own_folder_ends_after_the_first_stage_and_says_so(folders):
    own, others = PLAN.runs[:1], PLAN.runs[1:]
    put(folders, own)
    assert second.settle(PLAN, folders).stages == ()
    assert second.left(PLAN, own, folders) == []
    (said,) = second.say_open(PLAN, folders)
    assert f"waits: mlp ({len(others)} runs of {len(PLAN.runs)} to wait for)" in said
    assert "--merge" in said


def test_with_the_others_beside_it_it_is_found_and_goes_on(folders, capsys):
    put(folders, PLAN.runs)
    plan = second.settle(PLAN, folders)
    assert plan.stages and load_plan(folders.results).stages == plan.stages
    assert second.say_open(plan, folders) == []
    assert second.left(plan, plan.runs, folders) == list(plan.runs)
    (line,) = second.describe_second(plan, ["mlp"])
    assert (
        line.startswith("Second stage of draws, in all: mlp: ") and line in capsys.readouterr().out
    )
