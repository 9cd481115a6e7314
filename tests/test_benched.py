"""The committed bench is whole, of one commit, and its tables follow from its records."""

import json
import re

import pandas as pd
import pytest

from analysis.transfer import best_strengths, matrix
from reporting import columns, side_by_side
from reporting.results import find_missing, read
from store.records import load_all
from studies import bench, benched
from studies import transfer as study
from studies.tuning import TUNED, tuning_table

FOLDERS = [path for path in benched.FOLDERS if path.exists()]
WHOLE = [*FOLDERS, benched.STRONGER, benched.POWER, benched.LONGER]


@pytest.mark.parametrize("folder", WHOLE, ids=lambda path: path.name)
def test_it_is_whole_and_its_tables_follow_from_its_records(folder):
    found = read(folder)
    assert not find_missing(found.plan, found.records) and not found.left_out
    made = side_by_side.section(found).csv
    for name in ("methods.csv", "ranking.csv"):
        table = columns.named(made[name].astype({"architecture": str, "regime": str}))
        words = {"not_reached": str, "flags": str}
        committed = pd.read_csv(folder / name, dtype=words).fillna({name: "" for name in words})
        pd.testing.assert_frame_equal(
            table.reset_index(drop=True),
            committed,
            rtol=1e-9,
            check_dtype=False,
        )


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_it_is_what_was_fixed_before(folder):
    plan = read(folder).plan
    assert plan.recipe.budget == bench.Options().budget
    for name, groups in plan.looks:
        assert groups == (bench.SEEDS,)
        assert {run.regime for run in plan.runs if run.architecture == name} == {
            *bench.regimes_of(name, benched.BENCH)
        }
    assert plan.sweep.test_size == (bench.FAMILY_IMAGES if folder == benched.FOLDERS[1] else 0)


def test_the_choice_follows_from_its_records():
    found, problems = load_all(benched.BENCH / "tuning" / "runs")
    assert not problems
    committed = pd.read_csv(benched.BENCH / "tuning" / "tuning.csv")
    pd.testing.assert_frame_equal(tuning_table(found), committed, check_dtype=False)
    assert committed.groupby("regime").chosen.sum().eq(1).all()
    assert {*committed.regime} == {*TUNED}


def test_what_carries_over_follows_from_its_records():
    options = study.Options(results_dir=benched.TRANSFER)
    trainings = study.read_trainings(options.train)
    by_noise = study.gather(trainings, options)
    for name, made in {
        "matrix": matrix(by_noise, trainings),
        "best": best_strengths(by_noise, trainings),
    }.items():
        committed = pd.read_csv(benched.TRANSFER / f"{name}.csv")
        made = made.astype({"architecture": str})
        pd.testing.assert_frame_equal(made, committed, rtol=1e-9, check_dtype=False)


@pytest.mark.parametrize(
    "pattern", ["bench/tuning", "transfer/*", *["bench/[gfsp]*"] * any(FOLDERS)]
)
def test_it_is_of_one_commit(pattern):
    commits = set()
    for path in (benched.ROOT / "results").glob(f"{pattern}/runs/*.json"):
        facts = json.loads(path.read_text())["provenance"].values()
        commits |= {segment["commit"] for segment in facts}
    assert len(commits) == 1 and re.fullmatch("[0-9a-f]{12}", commits.pop())
