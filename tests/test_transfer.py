"""Trained under one noise, measured under another: the matrix, the best strength, the study."""

import numpy as np
import pandas as pd
import pytest

from analysis import transfer
from analysis.transfer import best_strengths, matrix
from analysis.verdicts import BETTER, EQUIVALENT, UNRESOLVED, WORSE
from reporting import transfer as shown
from studies import transfer as study

TRAININGS = [("gaussian", 0.7), ("gaussian", 1.4), ("bit_errors", 0.05)]
NAMES = ["clean", *map(transfer.name, TRAININGS)]


def make(accuracy: dict[float, list[list[float]]]) -> pd.DataFrame:
    """Return the rows of one architecture: by strength, accuracy by training and seed."""
    rows = [
        ("mlp", name, seed, alpha, 0, 1, round(10_000 * value), 10_000, 0.0)
        for alpha, table in accuracy.items()
        for name, seeds in zip(NAMES, table, strict=False)
        for seed, value in enumerate(seeds)
    ]
    names = ["architecture", "regime", "seed", "alpha", "draw", "sign", "correct", "total", "loss"]
    kinds = {
        "regime": pd.CategoricalDtype(NAMES, ordered=True),
        "architecture": pd.CategoricalDtype(["mlp"], ordered=True),
    }
    return pd.DataFrame(rows, columns=names).astype(kinds)


@pytest.fixture
def by_noise() -> dict[str, pd.DataFrame]:
    start = [[0.95] * 3, [0.9501] * 3, [0.90] * 3, [0.95] * 3]
    noisy = [[0.60, 0.61, 0.62], [0.80, 0.81, 0.82], [0.86, 0.80, 0.86], [0.5, 0.7, 0.6]]
    bits = [[0.50, 0.52, 0.51]] * 3 + [[0.70, 0.72, 0.71]]
    return {"gaussian": make({0.0: start, 1.0: noisy}), "bit_errors": make({0.0: start, 0.1: bits})}


def test_the_matrix_is_of_paired_effects_with_words(by_noise):
    cells = matrix(by_noise, TRAININGS).set_index(["noise", "alpha", "trained", "strength"])
    assert len(cells) == 2 * 2 * 3
    assert cells.effect["gaussian", 1.0, "gaussian", 0.7] == pytest.approx(0.2)
    assert cells.effect["bit_errors", 0.1, "bit_errors", 0.05] == pytest.approx(0.2)
    words = cells.verdict
    assert words["gaussian", 1.0, "gaussian", 0.7] == BETTER
    assert words["gaussian", 1.0, "bit_errors", 0.05] == UNRESOLVED
    assert words["gaussian", 0.0, "gaussian", 1.4] == WORSE
    assert words["gaussian", 0.0, "gaussian", 0.7] == EQUIVALENT
    assert words["bit_errors", 0.1, "gaussian", 0.7] == EQUIVALENT


def test_the_best_strength_is_that_of_the_mean_and_its_interval_of_resamples(by_noise):
    best = best_strengths(by_noise, TRAININGS).set_index(["trained", "noise", "alpha"])
    row = best.loc[("gaussian", "gaussian", 1.0)]
    assert (row.best, row.low, row.high) == (1.4, 0.7, 1.4)  # two of seed 1: .7 is better
    assert row.seeds == 3 and row.gain == pytest.approx(0.84 - 0.61)
    assert best.loc[("gaussian", "gaussian", 0.0), ["best", "low", "high"]].tolist() == [0.7] * 3
    row = best.loc[("gaussian", "bit_errors", 0.1)]  # all alike: none is needed
    assert (row.best, row.low, row.high, row.gain) == (0, 0, 0, 0)
    assert best.loc[("bit_errors", "bit_errors", 0.1), "best"] == 0.05


def test_one_seed_has_no_best_and_no_words(by_noise):
    one = {noise: rows[rows.seed == 0] for noise, rows in by_noise.items()}
    assert best_strengths(one, TRAININGS).empty
    assert set(matrix(one, TRAININGS).verdict) == {UNRESOLVED}


def test_the_map_shows_every_cell_and_its_word(by_noise):
    figure = shown.heat_map(matrix(by_noise, TRAININGS), "mlp")
    left, right, _ = figure.axes
    assert [t.get_text() for t in left.get_yticklabels()] == [
        "gaussian 0.7",
        "gaussian 1.4",
        "bit_errors 5%",
    ]
    texts = {tuple(np.round(t.get_position()).astype(int)): t.get_text() for t in left.texts}
    assert len(texts) == 6 and texts[1, 0] == "+20.0\n▲" and texts[0, 1] == "-5.0\n▼"
    assert texts[1, 2].count("\n") == 0  # unresolved
    assert [t.get_text() for t in right.get_xticklabels()] == ["0", "10%"]


def test_the_table_says_the_interval(by_noise):
    table = shown.best_table(best_strengths(by_noise, TRAININGS), "mlp")
    body = {row[0]: row[1:] for row in table.body}
    assert body["gaussian 1"][0] == "1.4 [0.7, 1.4] (+23.00)"
    assert body["bit_errors 10%"] == ["0 [0, 0] (+0.00)", "5% [5%, 5%] (+20.00)"]


@pytest.mark.parametrize(
    "words", [("gaussain:1",), ("gaussian",), ("gaussian:",), ("gaussian:x",), ("bit_errors:7",)]
)
def test_wrong_trainings_are_refused_in_one_line(words, capsys, tmp_path):
    assert study.main(study.Options(train=words, results_dir=tmp_path / "none")) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "--train" in said and not (tmp_path / "none").exists()


@pytest.mark.slow
def test_a_small_study_goes_the_whole_way(command, tmp_path):
    small = "--budget 1 --train-size 200 --test-size 100 --draws 1 --seeds 0 1 --alphas 0 1"
    words = f"--train gaussian:1 bit_errors:0.05 --noise bit_errors:0.05 {small}"
    out = ["--results-dir", tmp_path / "transfer"]
    done = command("-m", "studies.transfer", *words.split(), *out)
    assert done.returncode == 0, done.stderr
    written = {path.name for path in (tmp_path / "transfer").iterdir()}
    assert {"matrix.csv", "best.csv", "transfer.md", "transfer-mlp.png"} <= written
    cells = pd.read_csv(tmp_path / "transfer" / "matrix.csv")
    assert len(cells) == 2 * 2 * 2 and set(cells.seeds) == {2}
    clean = list((tmp_path / "ckpt").glob("mlp-clean-*.pt"))
    assert len(clean) == 2  # trained once, whatever the noisy ones are trained under
