"""changes.py: what is forgotten is gone, nothing else is, and it does not come back."""

import json
import sys
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

import report
from config import LEAST_DRAWS
from damage import snapshot
from fakes import make_plan, make_results
from store import plan_file as plans
from store import records
from store.changes import without
from store.merge import merge_results
from store.plan_file import ask, forget, know, load_plan
from store.stages import Stage
from test_plan import axes, sweeps

built = st.builds(lambda a, s: make_plan(*a, **s), axes, sweeps)


@given(parts=st.lists(built, min_size=1, max_size=3), gone=built)
def test_the_runs_that_are_named_go_and_no_others(parts, gone):
    plan = parts[0]
    for part in parts[1:]:
        plan = part.joined(plan)
    left = without(plan, gone)
    expected = {run: sweep for run, sweep in plan.asked.items() if run not in {*gone.runs}}
    assert (left.asked if left else {}) == expected
    assert (left is plan) == (len(expected) == len(plan.runs))


def test_of_measurements_only_those_that_are_named_go():
    plan = make_plan(("mlp", "cnn"), alphas=(0.0, 0.1, 0.5), draws=1_000_000, antithetic=True)
    asked = make_plan(("mlp",), alphas=(0.0, 0.5), draws=1_000_000, antithetic=True)
    left = without(plan, asked, {"draws"})
    mine = {s for run, s in left.asked.items() if run.architecture == "mlp"}
    assert {(s.draws, s.two_stage) for s in mine} == {(LEAST_DRAWS, True)}
    assert {s.draws for run, s in left.asked.items() if run.architecture == "cnn"} == {1_000_000}
    left = without(plan, asked, {"alphas", "antithetic"})
    assert {(s.alphas, s.antithetic) for run, s in left.asked.items()} == {
        ((0.0, 0.1), False),
        ((0.0, 0.1, 0.5), True),
    }
    assert without(plan, make_plan(draws=7), {"draws"}) is plan


def test_the_plan_on_disk_forgets_and_can_be_asked_again(tmp_path):
    ask(tmp_path, make_plan(("mlp", "cnn")))
    forget(tmp_path, make_plan(("cnn",)))
    assert load_plan(tmp_path) == make_plan(("mlp",))
    ask(tmp_path, make_plan(("cnn",)))
    assert load_plan(tmp_path).asked == make_plan(("mlp", "cnn")).asked
    assert not plans.parts_folder(tmp_path).exists()


def test_what_is_found_out_of_a_plan_does_not_bring_back_what_was_forgotten(tmp_path):
    before = make_plan(seeds=(0, 1, 7))
    stage = Stage("mlp", tuple(sorted(before.sweep.settings.items())), 0.0, ((0.5, 20),))
    ask(tmp_path, before)
    forget(tmp_path, make_plan(seeds=(7,)))
    know(tmp_path, replace(before, stages=(stage,)))
    after = load_plan(tmp_path)
    assert after.seeds == (0, 1) and after.stages == (stage,)


def test_what_is_forgotten_during_a_merge_does_not_come_back(tmp_path, monkeypatch):
    for name, seeds in (("mine", (0, 1, 7)), ("theirs", (0, 1, 2))):
        make_results(tmp_path / name, make_plan(seeds=seeds))
    true = records.load_all

    def meanwhile(folder):
        forget(tmp_path / "mine", make_plan(seeds=(7,)))
        return true(folder)

    monkeypatch.setattr(records, "load_all", meanwhile)
    merge_results(tmp_path / "mine", [tmp_path / "theirs"])
    assert load_plan(tmp_path / "mine").seeds == (0, 1, 2)


def test_a_plan_that_cannot_be_used_here_is_not_merged(tmp_path, capsys, monkeypatch):
    make_results(tmp_path / "mine", make_plan())
    make_results(tmp_path / "theirs", make_plan(seeds=(7,)))
    body = json.loads(plans.plan_path(tmp_path / "theirs").read_text())
    body["sweep"]["noise"] = ["nope:1.0"]
    plans.plan_path(tmp_path / "theirs").write_text(json.dumps(body))
    before = snapshot(tmp_path / "mine")
    words = ["report.py", str(tmp_path / "mine"), "--merge", str(tmp_path / "theirs")]
    monkeypatch.setattr(sys, "argv", words)
    assert report.main() == 2
    assert "noise that is not known here: 'nope'" in capsys.readouterr().err
    assert snapshot(tmp_path / "mine") == before
