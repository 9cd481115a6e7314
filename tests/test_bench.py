"""The commands of the bench: they are taken, hold what was fixed, and wait for what they need."""

from dataclasses import replace

import pandas as pd
import pytest

import data
from config import REGIMES
from methods import METHODS
from runner import options as program
from studies import bench
from studies.bench import (
    BEST,
    INJECTION,
    KINDS,
    PLAIN,
    SEEDS,
    Options,
    best_of,
    command,
    regimes_of,
)


@pytest.mark.parametrize("architecture", ["mlp", "cnn", "vit"])
@pytest.mark.parametrize("folder", ["gaussian", "families"])
def test_a_command_asks_for_what_was_fixed(architecture, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "best_of", lambda results: "sam")
    asked = Options(results_dir=tmp_path, checkpoint_dir=tmp_path / "ckpt", shard="1/2")
    script, *words = command(architecture, folder, asked)
    assert script == "run_experiments.py"
    found = program.read(words)
    program.check(found)
    plan = program.make_plan(found)
    assert plan.architectures == (architecture,) and plan.seeds == SEEDS
    assert plan.regimes == regimes_of(architecture, tmp_path) and all(
        r in REGIMES for r in plan.regimes
    )
    assert plan.recipe.budget == 4 and found.shard == "1/2"
    further = folder == "families"
    assert plan.sweep.test_size == (2000 if further else 0)
    assert {*plan.sweep.families} == ({"multiplicative", "bit_errors", "pcm"} if further else set())
    assert found.results_dir == tmp_path / folder and found.checkpoint_dir == tmp_path / "ckpt"


def test_the_numbers_of_methods_are_the_planned_ones(tmp_path):
    assert len(KINDS) == 6 and len(regimes_of("vit", tmp_path)) == 3
    assert KINDS[:2] == PLAIN and all(name in REGIMES for name in KINDS)
    assert len(regimes_of("mlp", tmp_path)) == len(REGIMES)


def test_a_method_whose_package_is_missing_is_not_left_out_in_silence(monkeypatch, capsys):
    kind = METHODS[REGIMES["ivon"].method]
    monkeypatch.setattr(kind, "lacks", classmethod(lambda cls: "a-package"))
    assert bench.main(Options(go=True)) == 2
    assert "pip install a-package" in capsys.readouterr().out
    assert "ivon" in regimes_of("mlp", Options().results_dir)


def test_the_best_is_that_of_the_mlp_under_gaussian_noise(tmp_path):
    assert best_of(tmp_path) == BEST
    (tmp_path / "gaussian").mkdir()
    rows = [
        ("gaussian", "mlp", "clean", 1.0),
        ("gaussian", "mlp", INJECTION, 3.0),
        ("gaussian", "mlp", "sam", 1.5),
        ("gaussian", "mlp", "awp", 1.2),
        ("gaussian", "cnn", "awp", 9.0),
        ("pcm", "mlp", "awp", 9.0),
    ]
    table = pd.DataFrame(rows, columns=["noise", "architecture", "regime", "tolerance"])
    table.to_csv(tmp_path / "gaussian" / "ranking.csv", index=False)
    assert best_of(tmp_path) == "sam"
    table[:2].to_csv(tmp_path / "gaussian" / "ranking.csv", index=False)
    assert best_of(tmp_path) == BEST


def test_the_first_that_fails_ends_it_and_the_vit_waits(tmp_path, monkeypatch, capsys):
    done = []

    def run(words, check=False):
        done.append(words)
        return type("Done", (), {"returncode": 0 if len(done) < 4 else 130})

    monkeypatch.setattr(bench.subprocess, "run", run)
    asked = Options(results_dir=tmp_path, architectures=("mlp", "vit"))
    assert bench.do(asked) == 0 and len(done) == 2
    assert "vit waits" in capsys.readouterr().out
    assert bench.do(replace(asked, architectures=("mlp", "cnn"))) == 130 and len(done) == 4


def test_time_is_estimated_for_every_method(tmp_path, mnist: data.Dataset):
    asked = Options(results_dir=tmp_path, train_size=1280, test_size=100)
    table = bench.estimate("vit", asked, mnist)
    assert table.regime.tolist() == ["clean", "noisy", BEST]
    assert (table[["step_ms", "train", "measure", "further"]] > 0).all(axis=None)
