"""Finished runs that are done again: the same bits, another arithmetic, or a contradiction."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import config
from analysis.prediction import counting_variance, prediction_interval
from config import Run
from conftest import ROOT
from fakes import make_plan
from runner import execute
from runner.events import Kind
from runner.verdict import CONSISTENT, CONTRADICTS, SAME, Again, judge
from runner.verify import find_others, verify_run
from store import records
from store.folders import Folders

REFERENCE = ROOT / "tests" / "fixtures" / "verify"
"""A small committed reference: five MLPs, trained with noise for two epochs on 1,024 images."""
HERE = {"code": "c", "threads": 1, "torch": "2"}
TEST = {"test_size": 0, "noise_seed": 0}

# ---- The verdict ---------------------------------------------------------------------------------


def make(seed: int = 0, correct=(980, 900, 600), loss: float = 0.5, here=HERE, weights="w"):
    facts = {"training": here, "measuring": here}
    record = records.new(Run("mlp", "clean", seed), weights, [loss, 0.1], facts)
    rows = [[a, 0, 1, c + seed, 1000, 9.5] for a, c in zip((0.0, 0.5, 1.5), correct)]
    return records.add(record, TEST, rows)


OTHERS = [make(seed, loss=0.49 + 0.005 * seed) for seed in range(1, 6)]


def verdict(record, found, trained=True, others=OTHERS, here=HERE) -> tuple[str, str]:
    return judge(record, Again(found, trained), others, here)


def test_the_same_bits_are_said_whatever_the_arithmetic():
    for here in (HERE, {**HERE, "threads": 2}):
        for trained in (True, False):
            word, text = verdict(make(), make(), trained, here=here)
            assert word == SAME and "3 of 3 measurements are the same" in text


@pytest.mark.parametrize(
    "changes",
    [{"correct": (980, 900, 601)}, {"weights": "other"}, {"loss": 0.5 + 1e-12}],
)
def test_with_the_same_arithmetic_one_bit_is_a_contradiction(changes):
    word, text = verdict(make(), make(**changes))
    assert word == CONTRADICTS and "the same arithmetic" in text
    if "correct" in changes:
        assert "accuracy at α = 1.5, draw 0 0.6010, recorded 0.6000" in text


ELSEWHERE = {**HERE, "threads": 2}


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"correct": (981, 903, 597), "weights": "other", "loss": 0.5004}, CONSISTENT),
        ({"weights": "other", "loss": 0.515}, CONSISTENT),  # as other seeds
        ({"weights": "other", "loss": 0.6}, CONTRADICTS),
        ({"weights": "other", "loss": float("nan")}, CONTRADICTS),
        ({"correct": (980, 900, 480), "weights": "other"}, CONTRADICTS),
        ({"correct": (910, 900, 600), "weights": "other"}, CONTRADICTS),
    ],
)
def test_with_another_arithmetic_loss_and_accuracies_decide(changes, word):
    found, text = verdict(make(), make(**changes), here=ELSEWHERE)
    assert found == word, text
    assert "other arithmetic (threads 2, was 1)" in text and "first epoch's loss" in text
    if "correct" in changes:
        inside = 3 if word == CONSISTENT else 2
        assert (
            f"{inside} of 3 mean accuracies are as recorded or in the 95% prediction intervals of 5"
            in text
        )


def test_a_seed_far_from_the_others_that_is_so_again_contradicts_nothing():
    far = make(correct=(910, 900, 600))
    found, text = verdict(far, make(correct=(912, 899, 601), weights="other"), here=ELSEWHERE)
    assert found == CONSISTENT, text


@pytest.mark.parametrize("first", [0.0, None])
def test_a_first_loss_that_is_nothing_is_compared_too(first):
    """Of 0, or of a record without epochs, such as a hand made."""
    there, again = make(loss=first), make(weights="other", loss=first)
    others = [make(seed, loss=first) for seed in range(1, 6)]
    if first is None:
        for record in (there, again, *others):
            record["history"] = []
    assert verdict(there, make(weights="other"), others=others, here=ELSEWHERE)[0] == CONTRADICTS
    assert verdict(there, again, others=others, here=ELSEWHERE)[0] == CONSISTENT


TRAITS, REALISED = {"chance": 0.1, "batchnorm": False}, {"cost": 2.0, "sizes": [0.5, 0.4]}


def with_all(**changes) -> records.Record:
    return {**make(), "traits": TRAITS, "realised": REALISED, **changes}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"traits": {**TRAITS, "chance": 0.5}}, "traits, chance 0.5, recorded 0.1"),
        ({"realised": {**REALISED, "cost": 9.0}}, "realised, cost 9.0, recorded 2.0"),
        ({"realised": {**REALISED, "sizes": [0.5]}}, "realised, sizes [0.5], recorded [0.5, 0.4]"),
        ({"history": [0.5, 0.2]}, "history, epoch 2 0.2, recorded 0.1"),
        ({"history": [0.5]}, "history 1 epochs, recorded 2 epochs"),
    ],
)
def test_what_a_checkpoint_says_otherwise_is_a_contradiction(changes, said):
    for here in (HERE, ELSEWHERE):
        word, text = verdict(with_all(), with_all(**changes), trained=False, here=here)
        assert word == CONTRADICTS and said in text
        assert "3 of 3 measurements are the same" in text
    word, text = verdict(with_all(), with_all(**changes))  # trained anew, in the same arithmetic
    assert word == CONTRADICTS and said in text


def test_cost_and_traits_do_not_depend_on_the_arithmetic():
    for changes in ({"traits": {**TRAITS, "chance": 0.5}}, {"realised": {"cost": 9.0}}):
        found = with_all(weights="other", **changes)
        assert verdict(with_all(), found, here=ELSEWHERE)[0] == CONTRADICTS
    found = with_all(weights="other", realised={"cost": 2.0, "sizes": [0.6, 0.4]})
    assert verdict(with_all(), found, here=ELSEWHERE)[0] == CONSISTENT


def test_what_was_not_done_again_is_said():
    word, text = verdict(with_all(), make(), trained=False)
    left = "traits chance, traits batchnorm, realised cost, realised sizes"
    assert word == SAME and text.endswith(f"not done again: {left}")
    again = Again(with_all(), False, ("4 measurements",))
    assert "not done again: 4 measurements" in judge(with_all(), again, OTHERS, HERE)[1]
    assert "not done again" not in verdict(with_all(), with_all())[1]


@pytest.mark.parametrize(
    ("forms", "elsewhere"),
    [
        ({"w": [1.0, -2.0 + 1e-9]}, CONSISTENT),
        ({"w": [1.0, -2.1]}, CONTRADICTS),
        ({"w": [1.0, None]}, CONTRADICTS),
        ({"w": [1.0]}, CONTRADICTS),
        ({"v": [1.0, -2.0]}, CONTRADICTS),
    ],
)
def test_curvature_is_compared(forms, elsewhere):
    block = {"settings": {"noise_seed": 0}, "images": 9, "forms": {"w": [1.0, -2.0]}}
    there = records.add_curvature(make(), block)
    word, text = verdict(there, there)
    assert word == SAME and "3 of 3 measurements are the same, and 1 of 1 Hessian est" in text
    other = records.add_curvature(make(), {**block, "forms": forms})
    for here, expected in ((HERE, CONTRADICTS), (ELSEWHERE, elsewhere)):
        word, text = verdict(there, other, trained=False, here=here)
        assert word == expected and "and 0 of 1 Hessian estimates" in text


def test_what_was_trained_in_segments_has_no_single_arithmetic():
    parts = {"segments": [{**HERE, "from": [0, 0]}, {**ELSEWHERE, "from": [1, 0]}]}
    record = make()
    record["provenance"] = {"training": {**HERE, **parts}, "measuring": HERE}
    assert verdict(record, make(weights="other"))[0] == CONSISTENT
    assert verdict(record, make(correct=(980, 900, 601)), trained=False)[0] == CONTRADICTS


def test_a_checkpoint_of_other_weights_is_a_contradiction():
    word, text = verdict(make(), make(weights="other"), trained=False, here=ELSEWHERE)
    assert word == CONTRADICTS and "its checkpoint is not what it was measured on" in text


def test_without_other_seeds_the_loss_alone_decides():
    for loss, expected in ((0.5009, CONSISTENT), (0.502, CONTRADICTS)):
        found = make(weights="other", loss=loss)
        word, text = verdict(make(), found, others=OTHERS[:1], here=ELSEWHERE)
        assert word == expected and "too few other seeds" in text


def test_a_record_of_before_does_not_say_its_arithmetic():
    old = make(here={"threads": 1, "torch": "2"})
    word, text = verdict(old, make(weights="other"))
    assert word == CONSISTENT and "code c, was not recorded" in text


def test_a_prediction_interval_holds_the_next_value_as_often_as_it_says():
    stream, hits = np.random.default_rng(0), []
    for _ in range(4000):
        *values, new = stream.normal(0.9, 0.02, 6)
        low, high = prediction_interval(values, 0.95)
        hits.append(low <= new <= high)
    assert np.mean(hits) == pytest.approx(0.95, abs=0.015)
    assert prediction_interval([0.9], 0.95) is None
    low, high = prediction_interval([1.0, 1.0], 0.95, counting_variance(1.0, 100))
    assert low < 0.99 and high > 1.0  # an image more or less


# ---- The command ---------------------------------------------------------------------------------


def run(data_dir: Path, folder: Path, *words: str, checkpoints: Path = Path("nowhere")):
    line = [sys.executable, "run_experiments.py", "--verify", *words, "--device", "cpu"]
    line += ["--data-dir", data_dir, "--results-dir", folder, "--checkpoint-dir", checkpoints]
    return subprocess.run(
        [*map(str, line)], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.slow
def test_a_run_of_the_committed_reference_is_verified(data_dir, mnist):
    before = contents(REFERENCE)
    done = run(data_dir, REFERENCE, "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"mlp-noisy-seed\d-\w+: (bit-identical|consistent): trained anew", done.stdout)
    assert re.search(r"\n1 run: 1 (bit-identical|consistent)\n", done.stdout)
    assert contents(REFERENCE) == before and not (ROOT / "nowhere").exists()


@pytest.mark.slow
def test_a_changed_number_is_found_with_and_without_checkpoints(tmp_path, data_dir, mnist, command):
    words = (
        "mlp --regimes clean --seeds 0 --epochs 1 --train-size 64 --batch-size 16 --test-size 50"
    )
    words += " --test-size 50 --alphas 0 1 --draws 2 --device cpu"
    assert command("run_experiments.py", *words.split()).returncode == 0
    results, weights = tmp_path / "results", tmp_path / "ckpt"

    def verify(place: Path):
        return run(data_dir, results, "9", checkpoints=place)

    again = verify(weights)
    assert again.returncode == 0 and "bit-identical: measured anew, 3 of 3" in again.stdout
    again = verify(tmp_path / "none")
    assert again.returncode == 0 and "bit-identical: trained anew, 3 of 3" in again.stdout

    [path] = (results / "runs").glob("*.json")
    record = records.load(path)
    row = record["measurements"][0]["rows"][1]
    row[3] += 1 if row[3] < row[4] else -1
    path.write_text(records.dumps(record), encoding="utf-8")
    for place in (weights, tmp_path / "none"):
        again = verify(place)
        assert again.returncode == 1 and "CONTRADICTS" in again.stdout
        assert "2 of 3 measurements are the same" in again.stdout


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data_dir, mnist):
    """A plan of one run that is done, with its folders, and more in its record than is asked."""
    folder = tmp_path_factory.mktemp("trained")
    plan = make_plan(("mlp",), ("clean",), (0,), alphas=(0.0, 1.0), draws=1, test_size=50)
    plan = replace(plan, recipe=replace(plan.recipe, epochs=1, train_size=64, batch_size=16))
    folders = Folders(data_dir, folder / "ckpt", folder)
    more = {"antithetic": True, "noise": ("pcm:60",), "draws": 2, "test_size": 20, "noise_seed": 3}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(config.PAIRS, "mlp", 2)  # 32 would take seconds
        for sweep in (plan.sweep, replace(plan.sweep, **more)):
            execute.execute(plan.runs[0], sweep, folders, torch.device("cpu"), HERE)
    return plan, folders


def verified(trained, folder: Path, change=lambda record: None, checkpoints=True):
    """Verify the run with its record changed; return word and text."""
    plan, folders = trained
    [run], there = plan.runs, folders.record(plan.runs[0])
    folders = replace(folders, results=folder, **({} if checkpoints else {"checkpoints": folder}))
    record = records.load(there)
    change(record)
    records.save(folders.record(run), record)
    told = []

    def tell(kind, **facts):
        if kind == Kind.VERDICT:
            told.append((facts["word"], facts["text"]))

    verify_run(run, tell, plan, folders, "cpu", HERE)
    [(word, text)] = told
    return word, text


EDITS = {
    "chance": (lambda r: r["traits"].update(chance=0.9), "traits, chance 0.1, recorded 0.9"),
    "history": (lambda r: r.update(history=[0.001]), "recorded 0.001"),
    "cost": (lambda r: r["realised"].update(cost=0.01), "realised, cost 1.0, recorded 0.01"),
    "a row beyond the plan": (
        lambda r: r["measurements"][0]["rows"].append([99.0, 7, 1, 20, 20, 0.0]),
        "accuracy at α = 99, draw 7",
    ),
    "a row of another noise": (
        lambda r: r["measurements"][1]["rows"][-1].__setitem__(5, 0.5),
        "recorded 0.5",
    ),
    "curvature": (
        lambda r: next(iter(r["curvature"][0]["forms"].values())).__setitem__(0, 123.0),
        "and 0 of 1 Hessian estimates",
    ),
}


def test_all_that_a_record_holds_is_compared(trained, tmp_path):
    word, text = verified(trained, tmp_path)
    count = re.search(r"measured anew, (\d+) of (\d+) measurements are the same, and 1 of 1", text)
    record = records.load(trained[1].record(trained[0].runs[0]))
    rows = sum(len(block["rows"]) for block in record["measurements"])
    assert word == SAME and count and {*map(int, count.groups())} == {rows}
    assert "not done again" not in text


@pytest.mark.parametrize("kind", EDITS)
def test_every_change_of_a_record_is_found_where_its_checkpoint_is(trained, tmp_path, kind):
    change, said = EDITS[kind]
    word, text = verified(trained, tmp_path, change)
    assert word == CONTRADICTS and said in text, text


@pytest.mark.parametrize("kind", ["chance", "history", "cost"])
def test_and_where_it_is_not(trained, tmp_path, kind):
    change, said = EDITS[kind]
    word, text = verified(trained, tmp_path, change, checkpoints=False)
    assert word == CONTRADICTS and said in text and text.startswith("trained anew"), text


def test_what_cannot_be_measured_is_said_not_to_be(trained, tmp_path):
    def change(record: records.Record) -> None:
        settings, rows = record["measurements"][0].values()
        for more in ({"noise": "of_tomorrow"}, {"batchnorm": "reestimated"}, {"probes": 3}):
            record["measurements"].append({"settings": {**settings, **more}, "rows": rows[:1]})
        block = record["curvature"][0]
        old = {**block["settings"], "probes": 32}
        record["curvature"].append({**block, "settings": {k: old[k] for k in old if k != "pairs"}})

    word, text = verified(trained, tmp_path, change)
    assert word == SAME and text.endswith("not done again: 3 measurements, 1 Hessian estimate")


def test_nothing_finished_is_wrong_input(tmp_path, data_dir, mnist):
    folder = tmp_path / "results"
    shutil.copytree(REFERENCE, folder)
    for path in (folder / "runs").iterdir():
        path.unlink()
    done = run(data_dir, folder, "1")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "--verify" in done.stderr


def test_the_reference_is_whole():
    plan = json.loads((REFERENCE / "plan.json").read_text())
    found, problems = records.load_all(REFERENCE / "runs")
    assert [r["identity"]["seed"] for r in found] == plan["seeds"] and not problems
    assert all("code" in r["provenance"]["training"] for r in found)


def test_other_seeds_are_those_of_the_folder_whatever_the_plan_asks_for():
    [first, *rest] = sorted((REFERENCE / "runs").glob("*.json"))
    run = Run.of(records.load(first)["identity"])
    found = find_others(run, Folders(*3 * [REFERENCE]))
    assert [record["run_id"] for record in found] == [path.stem for path in rest]
