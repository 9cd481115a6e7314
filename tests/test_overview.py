"""Shards of a plan, and its status from the files alone."""

import itertools
import json
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fakes
from config import DEFAULT_REGIMES, REGIMES, Recipe, Sweep, make_runs
from models import ARCHITECTURES, DEFAULT_ARCHITECTURES
from noises import FAMILIES
from runner import claims, costs
from runner.costs import cost, shards
from runner.overview import describe, describe_status, find_ignored, states_of
from store import records
from store.folders import Folders
from store.plan import Plan
from store.plan_file import load_plan

COSTS = {"mlp": 0.5, "cnn": 7.0, "resnet18": 53.0, "vit": 21.0}
"""Millions of operations for an image: about what they are, without building the models."""


@pytest.fixture(autouse=True)
def known_costs(monkeypatch):
    monkeypatch.setattr(costs, "flops", lambda name, dataset: 1e6 * COSTS.get(name, 9000.0))


def subsets(values, most: int):
    return st.lists(st.sampled_from(values), min_size=1, max_size=most, unique=True)


plan_runs = st.builds(
    make_runs,
    subsets(sorted(ARCHITECTURES), 5),
    subsets(list(REGIMES), 2),
    subsets(range(100), 20),
    st.builds(Recipe, epochs=st.integers(1, 9)),
)


@given(plan_runs, st.integers(1, 300))
def test_the_parts_are_together_the_plan_and_share_no_run(runs, count):
    parts = shards(runs, count, Sweep())
    assert len(parts) == count
    assert sorted(run.run_id for part in parts for run in part) == sorted(r.run_id for r in runs)
    assert shards(list(reversed(runs)), count, Sweep()) == parts  # the same on every machine
    if count >= len(runs):
        assert max(map(len, parts)) == 1


def loads(parts) -> list[float]:
    return [sum(cost(run, Sweep()) for run in part) for part in parts]


@given(plan_runs, st.integers(1, 60))
def test_no_part_is_above_the_mean_by_more_than_one_run(runs, count):
    """Graham's bound for any order: mean + (1 − 1/N) · costliest run."""
    found = loads(shards(runs, count, Sweep()))
    dearest = max(cost(run, Sweep()) for run in runs)
    assert max(found) <= (sum(found) / count + (1 - 1 / count) * dearest) * (1 + 1e-9)


@pytest.mark.parametrize("count", [2, 3])
@given(subsets(sorted(ARCHITECTURES), 5), st.integers(1, 2))
def test_no_part_is_above_4_thirds_of_the_least_possible(count, architectures, seeds):
    runs = make_runs(architectures, ["clean"], range(seeds), Recipe())[:6]
    prices = [cost(run, Sweep()) for run in runs]
    best = min(
        max(sum(p for p, n in zip(prices, places) if n == part) for part in range(count))
        for places in itertools.product(range(count), repeat=len(runs))
    )
    assert max(loads(shards(runs, count, Sweep()))) <= (4 / 3 - 1 / (3 * count)) * best * (1 + 1e-9)


@pytest.mark.parametrize("count", [7, 13, 47, 48, 49, 97])
def test_2400_runs_are_balanced(count):
    runs = make_runs(DEFAULT_ARCHITECTURES, DEFAULT_REGIMES, range(300), Recipe())
    found = loads(shards(runs, count, Sweep()))
    assert len(runs) == 2400
    mean = sum(found) / count
    assert 0.9 * mean <= min(found) and max(found) <= 1.1 * mean


@pytest.mark.slow
def test_a_shard_writes_only_the_files_of_its_own_runs(command, tmp_path, mnist, monkeypatch):
    monkeypatch.undo()  # the real costs, as the command has them
    words = "mlp cnn --epochs 1 --train-size 300 --test-size 200 --alphas 0 1 --draws 2 --seeds 0 1"
    recipe, sweep = Recipe(epochs=1, train_size=300), Sweep((0.0, 1.0), draws=2, test_size=200)
    runs = make_runs(["mlp", "cnn"], ["clean", "noisy"], [0, 1], recipe)
    written: set[str] = {"results/plan.json"}
    for index, part in enumerate(shards(runs, 3, sweep), start=1):
        done = command("run_experiments.py", *words.split(), "--shard", f"{index}/3")
        assert done.returncode == 0, done.stderr
        assert f"shard {index} of 3: {len(part)} of 8 runs" in done.stdout
        written |= {f"results/runs/{run.run_id}.json" for run in part}
        written |= {f"ckpt/{run.run_id}.pt" for run in part}
        files = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
        bits = {p for p in files if p.startswith("results/runs.images/")}
        assert files - bits == written
        assert {p.split("/")[2].split(".")[0] for p in bits} == {
            Path(p).stem for p in written if p.startswith("results/runs/")
        }


# ---- The status, from the files alone -----------------------------------------------------------


@pytest.fixture
def folders(tmp_path) -> Folders:
    """The folders of a plan of 8 runs, of which six have a record."""
    folders = Folders(tmp_path / "data", tmp_path / "checkpoints", tmp_path / "results")
    folders.checkpoints.mkdir()
    plan = fakes.make_plan(seeds=(0, 1))
    fakes.make_results(folders.results, plan)
    for run in plan.runs[:2]:
        folders.record(run).unlink()
    return folders


def described(folders: Folders) -> list[str]:
    return describe_status(load_plan(folders.results), folders).splitlines()


def write_status(folders: Folders, run, age: float = 0.0, **facts) -> Path:
    file = claims.path(folders.results, run)
    file.parent.mkdir(parents=True, exist_ok=True)
    known = {"pid": os.getpid(), "machine": claims.machine_id()}
    file.write_text(json.dumps({**known, **facts}))
    os.utime(file, (time.time() - age,) * 2)
    return file


def first(folders: Folders):
    return load_plan(folders.results).runs[0]


def test_what_is_finished_and_missing(folders):
    lines = described(folders)
    assert lines[0] == "8 runs: 6 finished, 2 missing"
    missing = load_plan(folders.results).runs[:2]
    assert lines[1:3] == [f"  missing      {run.run_id}" for run in missing]


def test_what_is_in_progress_is_told_with_its_epoch_and_last_sign_of_life(folders):
    run = first(folders)
    write_status(folders, run, age=12, state="training", epoch=2, of=4)
    lines = described(folders)
    assert lines[0] == "8 runs: 6 finished, 1 in progress, 1 missing"
    assert lines[1] == f"  in progress  {run.run_id}: training, epoch 2 of 4, heard of 12 s ago"
    write_status(folders, run, state="measuring", done=30, of=56)
    assert described(folders)[1].endswith(": measuring, 30 of 56 measurements, heard of 0 s ago")
    write_status(folders, run, age=30, state="training", epoch=2, of=4, pid=1, machine="another")
    assert "heard of 30 s ago" in described(folders)[1]  # whose processes cannot be seen from here


@pytest.mark.parametrize(
    "facts",
    [{"pid": 2**22 + 1}, {"age": 61}, {"age": 61, "machine": "another"}],
    ids=["its process is gone", "not heard of for a minute", "nor on another machine"],
)
def test_what_nobody_is_at_work_on_any_more_is_stopped(folders, facts):
    run = first(folders)
    write_status(folders, run, **{"state": "training", "epoch": 2, "of": 4, **facts})
    (folders.checkpoints / f"{run.run_id}.resume.pt").write_bytes(b"")
    assert described(folders)[0] == "8 runs: 6 finished, 1 stopped, 1 missing"
    assert described(folders)[1] == f"  stopped      {run.run_id}: partly trained, epoch 2 of 4"
    (folders.checkpoints / f"{run.run_id}.pt").write_bytes(b"")
    assert described(folders)[1] == f"  stopped      {run.run_id}: trained, epoch 2 of 4"


def test_a_run_whose_measured_weights_are_gone_is_blocked(folders):
    plan = load_plan(folders.results)
    more = replace(plan, sweep=replace(plan.sweep, draws=plan.sweep.draws + 1))
    run = plan.runs[5]  # it has a record, and no checkpoint
    assert states_of([run], more, folders) == {run: "lacking"}
    head, *lines = describe_status(more, folders).splitlines()
    assert head == "8 runs: 0 finished, 6 blocked, 2 missing"
    path = folders.checkpoints / f"{run.run_id}.pt"
    assert any(line.startswith(f"  blocked      {run.run_id}: ") and str(path) in line
               for line in lines)  # fmt: skip
    path.write_bytes(b"")
    assert states_of([run], more, folders) == {run: "measure"}


def test_checkpoints_of_others_are_one_line(folders):
    plan = load_plan(folders.results)
    for n in range(12):
        (folders.checkpoints / f"mlp-clean-seed{n}-0123456789.pt").write_bytes(b"")
    [line] = [li for li in find_ignored(plan, folders) if str(folders.checkpoints) in li]
    assert "12 files of other experiments" in line and "mlp-clean-seed0-0123456789.pt" in line


def test_what_failed_or_stopped_is_told_with_the_reason(folders):
    run = first(folders)
    write_status(folders, run, age=9999, state="failed", reason="OSError: disk full")
    assert described(folders)[0] == "8 runs: 6 finished, 1 failed, 1 missing"
    assert described(folders)[1] == f"  failed       {run.run_id}: OSError: disk full"
    write_status(folders, run, age=9999, state="stopped", reason="in epoch 2, after 9 steps of it")
    assert described(folders)[1] == f"  stopped      {run.run_id}: in epoch 2, after 9 steps of it"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"state": 1}'])
def test_a_damaged_status_is_none(folders, text):
    write_status(folders, first(folders)).write_text(text)
    assert described(folders)[0] == "8 runs: 6 finished, 2 missing"


def test_a_damaged_record_is_no_finished_run(folders):
    folders.record(load_plan(folders.results).runs[5]).write_text("{")
    assert described(folders)[0] == "8 runs: 5 finished, 3 missing"


def test_the_time_left_follows_from_the_finished_runs(folders):
    unknown = "time left: not known before the first run is finished"
    assert described(folders)[-1] == unknown  # these records do not say how long they took
    plan = load_plan(folders.results)
    for run in plan.runs[2:]:
        record = records.load(folders.record(run))
        spent = {"training": {"epoch_seconds": [300, 200]}, "measuring": {"seconds": 100}}
        record["provenance"] |= spent
        folders.record(run).write_text(records.dumps(record))
    assert {run.architecture for run in plan.runs[:2]} == {"mlp"}
    assert "time left: about 20 min with 1 at work" in described(folders)[-1]
    for run in plan.runs[:2]:
        write_status(folders, run, state="training", epoch=1, of=4)
    assert "time left: about 10 min with 2 at work" in described(folders)[-1]
    shutil.rmtree(folders.results / "runs")
    assert described(folders)[-1] == unknown


def test_nothing_is_left_of_a_finished_plan(folders):
    fakes.make_results(folders.results, load_plan(folders.results))
    assert described(folders) == ["8 runs: 8 finished"]


def test_many_lines_are_cut(folders):
    plan = Plan(("mlp",), ("clean",), tuple(range(100)), Recipe(), Sweep())
    lines = describe_status(plan, Folders(folders.data, folders.checkpoints, Path("nowhere")))
    assert lines.splitlines()[0] == "100 runs: 0 finished, 100 missing"
    assert lines.splitlines()[21] == "  missing      and 80 more"
    assert [line.split(":")[0] for line in lines.splitlines()[22:]] == [
        "second stage of draws",
        "time left",
    ]


def test_the_plan_names_the_budget_and_every_methods_parameters(tmp_path):
    folders = Folders(tmp_path / "data", tmp_path / "checkpoints", tmp_path / "results")
    plan = fakes.make_plan(("mlp",), ("clean", "noisy", "sam:rho=0.1", "distillation"))
    plan = replace(plan, recipe=Recipe(budget=3))
    lines = describe(plan, {}, folders).splitlines()
    assert lines[1].startswith("  train    each for what 3 epochs of plain training cost, ")
    said = lines[2].removeprefix("  methods  ").split("; ")
    assert said[0] == "sam:rho=0.1 (rho 0.1)"
    assert said[1].startswith("distillation (beta 1, temperature 4), taught by the clean run")
    plain = describe(fakes.make_plan(("mlp",)), {}, folders)
    assert "methods" not in plain and "plain training cost" not in plain


def test_the_plan_says_what_will_not_come(folders, monkeypatch):
    def plan(*regimes):
        return describe(Plan(("mlp",), regimes, (0,), Recipe(), Sweep(noise=noise)), {}, folders)

    noise = ("stuck_at:0.1,...",)
    assert "and on until halfway" in plan("clean", "noisy").split("stuck_at")[1]
    assert "without clean" not in plan("clean", "noisy")
    assert "without clean: accuracies alone" in plan("noisy", "sam")
    monkeypatch.setitem(FAMILIES, "stuck_at", replace(FAMILIES["stuck_at"], beyond=()))
    assert "and on until halfway" not in plan("clean", "noisy").split("stuck_at")[1]
