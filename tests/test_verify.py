"""Finished runs that are done again: the same bits, another arithmetic, or a contradiction."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from analysis.prediction import counting_variance, prediction_interval
from config import Run
from conftest import ROOT
from runner.verdict import CONSISTENT, CONTRADICTS, SAME, Again, judge
from runner.verify import find_others
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
        assert f"{inside} of 3 mean accuracies are in the 95% prediction intervals of 5" in text


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
