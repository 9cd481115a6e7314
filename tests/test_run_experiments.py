"""The documented commands, run as a user runs them, on a tiny budget."""

import json
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest

import report
import run_experiments
from config import REGIMES
from fakes import make_plan
from store import records
from store.plan_file import ask, plan_path

TINY = "--epochs 1 --train-size 300 --test-size 200 --batch-size 32 --alphas 0 0.1 1 --draws 2"
MAIN = ("run_experiments.py", *TINY.split())


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def tables(folder: Path) -> dict[str, bytes]:
    """Every table and figure; provenance (times) is in results.json and the pages."""
    return {name: (folder / name).read_bytes() for name in ("summary.csv", "sweep.csv")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, mnist) -> Path:
    """A folder in which the main command has run once: mlp and vit, two seeds."""
    import subprocess
    import sys

    from conftest import ROOT

    home = tmp_path_factory.mktemp("finished")
    words = [*MAIN[1:], "--seeds", "0", "1", "--data-dir", ROOT / "data"]
    words += ["--checkpoint-dir", home / "ckpt", "--results-dir", home / "results"]
    line = [sys.executable, "run_experiments.py", "mlp", "vit", *map(str, words)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    (home / "stdout").write_text(done.stdout)
    return home


@pytest.fixture
def copied(finished, tmp_path) -> Path:
    """A copy of `finished` that a test may change, where `command` looks for it."""
    for name in ("ckpt", "results"):
        shutil.copytree(finished / name, tmp_path / name)
    return tmp_path


def test_it_prints_the_plan_and_the_tables(finished):
    text = (finished / "stdout").read_text()
    assert "Plan: 8 runs = 2 architectures × 2 regimes × 2 seeds on mnist" in text
    assert "new: train and measure: mlp clean (0 1), mlp noisy (0 1), vit clean (0 1)" in text
    assert text.count("epoch 1/1") == 8
    header = next(line for line in text.splitlines() if line.startswith("Architecture"))
    assert header.split() == ["Architecture", "Regime", "Seed", "Acc(0)", "Acc(0.1)", "Drop"]
    assert "Mean drop at α = 0.1" in text


def test_it_leaves_the_files_that_are_documented(finished):
    results = finished / "results"
    assert len(list((finished / "ckpt").glob("*.pt"))) == 8
    assert not list((finished / "ckpt").glob("*.resume.pt"))
    assert len(list((results / "runs").glob("*.json"))) == 8
    summary = pd.read_csv(results / "summary.csv")
    expected = ["architecture", "regime", "seed", "acc_0", "acc_0.1", "drop_0.1"]
    assert list(summary.columns[:6]) == expected
    assert len(summary) == 8
    sweep = pd.read_csv(results / "sweep.csv")
    names = "architecture,regime,seed,alpha_test,draw,accuracy,loss"
    assert list(sweep.columns) == names.split(",")
    assert len(sweep) == 8 * (1 + 2 * 2)
    body = json.loads((results / "results.json").read_text())
    assert set(body) == {"config", "provenance", "summary", "sweep"}
    for kind in ("png", "pdf"):
        assert (results / f"robustness.{kind}").stat().st_size > 5000
    assert not [p for p in finished.rglob("*.tmp")]


def test_tables_rebuilt_from_records_equal_the_tables_written(copied):
    results = copied / "results"
    before = snapshot(results)
    for path in results.glob("*.*"):
        if path.is_file() and path.name != "plan.json":
            path.unlink()
    report.rebuild(results)
    assert snapshot(results) == before


@pytest.mark.slow
def test_the_status_is_that_of_the_folders_plan_on_any_machine(command, finished):
    """Whatever the machine: nothing is computed, and nothing written."""
    before = snapshot(finished)
    folders = ("--results-dir", finished / "results", "--checkpoint-dir", finished / "ckpt")
    plan = (*TINY.split(), "--seeds", "0", "1")
    machine = ("--device", "cuda:7", "--threads", "999")
    for words in ((), machine, ("mlp", "--seeds", "0"), ("mlp", "vit", *plan)):
        done = command("run_experiments.py", *words, "--status", *folders, folders=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("8 runs: 8 finished\n")
    done = command("run_experiments.py", "cnn", *plan, "--status", *folders, folders=False)
    assert "8 finished, 4 missing" in done.stdout and "time left: about" in done.stdout
    assert snapshot(finished) == before


def test_the_status_of_a_folder_that_is_not_there_says_so(command, tmp_path):
    done = command("run_experiments.py", "mlp", "--seeds", "0", "--status")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 runs: 0 finished, 2 missing\n")
    assert done.stdout.splitlines()[-1].startswith("nothing was run yet: there is no folder ")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("harm", ["truncated", "swapped"])
def test_bad_data_files_end_with_status_2_and_write_nothing(harm, command, tmp_path, data_dir):
    names = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"]
    files = [next((data_dir / "MNIST" / "raw").glob(f"{name}*")) for name in names]
    there = tmp_path / "data" / "MNIST" / "raw"
    shutil.copytree(data_dir / "MNIST" / "raw", there)
    if harm == "truncated":
        (there / files[0].name).write_bytes(files[0].read_bytes()[:1000])
    else:
        for mine, other in zip(files, reversed(files), strict=True):
            shutil.copy(other, there / mine.name)
    words = ["--data-dir", tmp_path / "data", "--checkpoint-dir", tmp_path / "ckpt"]
    words += ["--results-dir", tmp_path / "results"]
    before = snapshot(tmp_path)
    done = command(*MAIN, *words, folders=False)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert "run_experiments.py: " in done.stderr and "ubyte" in done.stderr
    assert snapshot(tmp_path) == before


@pytest.mark.slow
def test_a_second_run_trains_nothing_and_changes_nothing(copied, command):
    before = snapshot(copied)
    done = command("run_experiments.py", "mlp", "vit", *MAIN[1:], "--seeds", "0", "1")
    assert done.returncode == 0, done.stderr
    assert "complete: reused: mlp clean (0 1)" in done.stdout
    assert "epoch" not in done.stdout.split("measure")[1]
    assert snapshot(copied) == before


@pytest.mark.slow
def test_the_numbers_do_not_depend_on_the_workers_or_on_what_else_runs(finished, command, tmp_path):
    done = command(*MAIN, "vit", "mlp", "--seeds", "1", "--workers", "1")
    assert done.returncode == 0, done.stderr
    ours, theirs = tmp_path / "results" / "runs", finished / "results" / "runs"
    compared = 0
    for path in ours.glob("*.json"):
        a, b = records.load(path), records.load(theirs / path.name)
        for part in ("identity", "weights", "history", "measurements"):
            assert a[part] == b[part], (path.name, part)
        compared += 1
    assert compared == 4


@pytest.mark.slow
def test_a_subset_adds_rows_and_takes_none_away(copied, command):
    before = pd.read_csv(copied / "results" / "sweep.csv")
    done = command("run_experiments.py", "cnn", *MAIN[1:], "--seeds", "0")
    assert done.returncode == 0, done.stderr
    after = pd.read_csv(copied / "results" / "sweep.csv")
    assert set(after.architecture) == {"mlp", "vit", "cnn"}
    kept = after[after.architecture != "cnn"].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, before)
    assert "cnn" in done.stdout


def test_folders_merge_by_copying_records(finished, tmp_path):
    """A record without a checkpoint is complete for the draws that it holds."""
    home = tmp_path / "results"
    (home / "runs").mkdir(parents=True)
    shutil.copy(finished / "results" / "plan.json", home)
    for path in (finished / "results" / "runs").glob("*.json"):
        shutil.copy(path, home / "runs")
    report.rebuild(home)
    assert tables(home) == tables(finished / "results")


@pytest.mark.slow
def test_more_draws_extend_a_record_and_change_none(copied, command):
    before = {p.name: records.load(p) for p in (copied / "results" / "runs").glob("mlp*.json")}
    words = [w if w != "2" else "3" for w in MAIN[1:]]
    done = command("run_experiments.py", "mlp", *words, "--seeds", "0", "1")
    assert done.returncode == 0, done.stderr
    assert "trained: only measurements are missing: mlp clean (0 1)" in done.stdout
    for name, old in before.items():
        new = records.load(copied / "results" / "runs" / name)
        (a,), (b,) = old["measurements"], new["measurements"]
        assert len(b["rows"]) == 1 + 2 * 3
        assert [row for row in b["rows"] if row in a["rows"]] == a["rows"]
        assert old["weights"] == new["weights"]


@pytest.mark.slow
def test_another_recipe_never_mixes(copied, command):
    before = snapshot(copied / "results" / "runs")
    done = command("run_experiments.py", "mlp", *MAIN[1:], "--seeds", "0", "--peak-lr", "0.001")
    assert done.returncode == 0, done.stderr
    assert "another recipe (peak_lr 0.003, asked 0.001)" in done.stdout
    after = snapshot(copied / "results" / "runs")
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 2
    summary = pd.read_csv(copied / "results" / "summary.csv")
    assert len(summary) == 2  # of the recipe asked for last


@pytest.mark.slow
def test_a_clean_run_is_kept_when_only_the_training_noise_changes(copied, command):
    done = command("run_experiments.py", "mlp", *MAIN[1:], "--seeds", "0", "--alpha-train", "0.9")
    assert done.returncode == 0, done.stderr
    assert "complete: reused: mlp clean (0)" in done.stdout
    assert "new: train and measure: mlp noisy (0)" in done.stdout


@pytest.mark.slow
def test_validation_leaves_the_test_set_closed(command, tmp_path, mnist):
    done = command(*MAIN, "mlp", "--seeds", "0", "--validation-size", "1000", "--regimes", "clean")
    assert done.returncode == 0, done.stderr
    assert "validation images" in done.stdout
    [path] = (tmp_path / "results" / "runs").glob("*.json")
    assert records.load(path)["identity"]["recipe"]["validation_size"] == 1000
    assert set(REGIMES) >= {"clean"}


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["mpl"], "ARCH"),
        (["mlp", "--alphas", "0.1"], "--alphas"),
        (["mlp", "--seeds", "0", "0"], "--seeds"),
        (["mlp", "--epochs", "0"], "--epochs"),
        (["mlp", "--device", "cuda:9"], "--device"),
    ],
)
def test_wrong_input_ends_with_status_2_and_writes_nothing(words, option, command, tmp_path):
    done = command("run_experiments.py", *words)
    assert done.returncode == 2
    assert option in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [[], ["--status"], ["--verify", "1"]])
@pytest.mark.parametrize("key, value", [("noise", ["nope:1.0"]), ("architectures", ["nope"])])
def test_a_plan_with_what_is_not_known_here_is_refused_in_a_line(
    words, key, value, tmp_path, monkeypatch, capsys
):
    ask(tmp_path, make_plan(("mlp",)))
    body = json.loads(plan_path(tmp_path).read_text())
    (body if key in body else body["sweep"])[key] = value
    plan_path(tmp_path).write_text(json.dumps(body))
    before = snapshot(tmp_path)
    line = ["run_experiments.py", "mlp", "--results-dir", str(tmp_path), *words]
    monkeypatch.setattr(sys, "argv", line)
    with pytest.raises(SystemExit) as ended:
        run_experiments.run()
    assert ended.value.code == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert "not known here: 'nope'" in said
    assert snapshot(tmp_path) == before


@pytest.mark.slow
def test_the_sanity_check_says_so(command, mnist, data_dir):
    done = command("sanity_check.py", "--data-dir", str(data_dir), folders=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == ("Sanity OK: noisy-trained has smaller or similar drop.")
    assert done.stdout.count("drop") == 3
