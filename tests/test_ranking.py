"""The order of methods and how sure it is: by hand with two seeds, on known truths with more."""

import numpy as np
import pandas as pd
import pytest

from analysis.endpoints import COST, INJECTION, TOLERANCE, against_both, endpoints, injection_of
from analysis.ranking import behind, on_front, ranking, resampled
from analysis.verdicts import t_factor
from reporting.side_by_side import INTRO
from simulated import make_rows, within_error
from test_endpoints import ALPHAS, accuracy_of

REGIMES = ["clean", "noisy", "sam", "swa"]


def make(half, start, alphas=ALPHAS) -> pd.DataFrame:
    """Return the rows of one architecture: half and start by regime and seed, (regimes, seeds)."""
    half, start = np.asarray(half, float), np.asarray(start, float)
    parts = []
    for regime, h, s in zip(REGIMES, half, start, strict=False):
        both = accuracy_of(np.stack([h, h])[None], np.stack([s, s])[None], np.asarray(alphas))
        rows = make_rows(both[..., None], alphas, 10**6)
        parts.append(rows[rows.regime == "clean"].assign(regime=regime))
    rows = pd.concat(parts, ignore_index=True).assign(architecture="mlp")
    return rows.astype({"regime": pd.CategoricalDtype(REGIMES[: len(half)], ordered=True)})


def by_regime(table: pd.DataFrame) -> pd.DataFrame:
    return table.set_index(table.regime.astype(str))


def test_of_two_seeds_each_resample_is_one_of_them():
    half = [[1.0, 1.0], [1.5, 1.1], [1.2, 1.3]]
    start = [[0.95, 0.95], [0.90, 0.94], [0.94, 0.96]]
    found = by_regime(ranking(make(half, start)))
    assert set(found.seeds) == {2} and set(found.censored) == {0}
    assert found["first"].to_numpy() == pytest.approx([0, 0.5, 0.5], abs=0.02)
    # clean costs least in seed 0, and sam in seed 1: there it dominates both others
    assert found["front"].to_numpy() == pytest.approx([0.5, 0.5, 1], abs=0.02)
    assert found.cost.to_numpy() == pytest.approx([0, 3, 0], abs=1e-3)
    assert found.tolerance["noisy"] == pytest.approx((1.5 * 1.1) ** 0.5, rel=5e-3)
    assert found.loc["clean", ["rank_low", "rank_high"]].tolist() == [3, 3]
    assert found.loc["sam", ["rank_low", "rank_high"]].tolist() == [1, 2]


def test_resampled_means_vary_as_means_do():
    rng = np.random.default_rng(1)
    share = []
    for _ in range(300):  # two methods as good as one another, three seeds
        log = rng.normal(size=(3, 2))
        share.append(resampled(np.zeros((3, 2)), log, 400)["first"][0])
    # a share that said what it promises were below 5% in about 5% of experiments; with few seeds
    # a resampling says too much, of n of n seeds in more than 20% of them
    assert 0.02 < np.mean(np.array(share) < 0.05) < 0.2


def test_what_dominates_all_is_alone_on_the_front_and_first():
    half, start = [[1.0] * 4, [1.4, 1.5, 1.6, 1.5]], [[0.95] * 4, [0.96] * 4]
    found = by_regime(ranking(make(half, start)))
    assert found.loc["noisy", ["first", "front", "rank_low", "rank_high"]].tolist() == [1, 1, 1, 1]
    assert found.on_front.tolist() == [False, True] and found["front"]["clean"] == 0


def test_equal_methods_share_the_place_and_both_are_on_the_front():
    half, start = [[1.0] * 3, [1.5] * 3, [1.5] * 3], [[0.95] * 3] * 3
    found = by_regime(ranking(make(half, start)))
    assert found["first"].tolist() == [0, 0.5, 0.5] and found.on_front.tolist() == [0, 1, 1]
    assert found.rank_high.tolist() == [3, 1, 1]


@pytest.mark.parametrize(
    ("cost", "tolerance", "front"),
    [
        ([0, 1, 2], [1, 2, 3], [1, 1, 1]),
        ([0, 1, 2], [1, 3, 2], [1, 1, 0]),
        ([0, 0, 0], [1, 1, 2], [0, 0, 1]),
        ([1, 1], [2, 2], [1, 1]),
        ([0, 1], [1, 1], [1, 0]),
    ],
)
def test_the_front_is_what_nothing_dominates(cost, tolerance, front):
    assert on_front(np.array(cost, float), np.array(tolerance, float)).tolist() == front


def test_what_is_not_reached_counts_as_its_bound():
    short = ALPHAS[ALPHAS < 1.3]
    found = by_regime(ranking(make([[1.0] * 3, [2.0] * 3, [3.0] * 3], [[0.95] * 3] * 3, short)))
    assert found.censored.tolist() == [0, 3, 3]
    assert found["first"].tolist() == [0, 0.5, 0.5]
    assert found.tolerance["noisy"] == pytest.approx(short.max(), rel=1e-2)


def test_methods_that_lack_seeds_are_not_ranked_and_one_seed_is_no_ranking():
    rows = make([[1.0] * 3, [1.2] * 3, [1.3] * 3], [[0.95] * 3] * 3)
    part = rows[(rows.regime != "sam") | (rows.seed < 1)]
    assert by_regime(ranking(part)).index.tolist() == ["clean", "noisy"]
    assert ranking(rows[rows.seed == 0]).empty
    assert ranking(rows[rows.regime == "clean"]).empty
    assert ranking(rows[rows.alpha > 0]).empty
    assert ranking(rows.sample(frac=1, random_state=0)).equals(ranking(rows))


def test_against_injection_the_others_share_an_error_of_their_own():
    rng = np.random.default_rng(0)
    half = np.exp(0.05 * rng.normal(size=(4, 3)) + np.log([[1], [1.3], [1.5], [1]]))
    rows = make(half, 0.95 + 0.003 * rng.normal(size=(4, 3)))
    table = against_both(rows)
    assert table.columns[0] == "baseline" and table.baseline.unique().tolist() == ["clean", "noisy"]
    first = table[table.baseline == "clean"].drop(columns="baseline").reset_index(drop=True)
    assert first.equals(endpoints(rows)) and set(first.comparisons) == {6}
    beside = table[table.baseline == INJECTION]
    assert beside.regime.unique().tolist() == ["sam", "swa"] and set(beside.comparisons) == {4}
    ratio = np.log(half[2] / half[1])
    row = beside[(beside.regime == "sam") & (beside.endpoint == TOLERANCE)].iloc[0]
    assert row.value_low == pytest.approx(np.exp(ratio.mean()), rel=5e-3)
    width = 2 * float(t_factor(3, 4)) * ratio.std(ddof=1) / 3**0.5
    assert np.log(row.high / row.low) == pytest.approx(width, rel=0.02)
    costs = table[table.endpoint == COST].set_index(["baseline", "regime"]).value_low
    gap = costs["clean", "sam"] - costs["clean", "noisy"]
    assert costs[INJECTION, "sam"] == pytest.approx(gap)


def test_injection_may_have_another_strength():
    rows = make([[1.0] * 3, [1.2] * 3, [1.3] * 3], [[0.95] * 3] * 3)
    rows["regime"] = rows.regime.cat.rename_categories({"noisy": "noisy:noise=2"})
    assert against_both(rows).baseline.unique().tolist() == ["clean", "noisy:noise=2"]
    assert injection_of(["clean", "noisy", "noisy:noise=2"]) == "noisy"
    assert injection_of(["clean", "noisy:noise=2", "noisy:noise=4"]) is None


def test_without_injection_or_others_there_is_one_baseline():
    rows = make([[1.0] * 3, [1.2] * 3, [1.3] * 3], [[0.95] * 3] * 3)
    for part in (rows[rows.regime != "noisy"], rows[rows.regime != "sam"]):
        assert against_both(part).baseline.unique().tolist() == ["clean"]
    assert against_both(rows[rows.regime == "clean"]).empty


@pytest.mark.parametrize(
    ("seeds", "share", "words"),
    [
        (3, 1 / 4, "a quarter of experiments of three"),
        (6, 1 / 9, "a ninth of six"),
        (10, 0.08, "8% of ten"),
    ],
)
def test_seeds_agree_by_chance_as_often_as_the_report_says(seeds, share, words):
    rng, repeats = np.random.default_rng(0), 1500
    apart = []
    for _ in range(repeats):
        found = resampled(np.zeros((seeds, 2)), rng.normal(size=(seeds, 2)), 1000)
        apart.append(found["rank_high"].min() < found["rank_low"].max())
    assert within_error(np.mean(apart), share, repeats)
    assert words in INTRO


def test_the_first_is_told_from_others_over_pairs_of_a_seed():
    rng = np.random.default_rng(0)
    seeds = rng.normal(size=(6, 1))  # shared: pairs see through it
    half = seeds + np.array([0.0, 1.0, 0.99, 0.5]) + 0.02 * rng.normal(size=(6, 4))
    half[:, 2] = half[:, 1] - np.array([0.03, -0.01, 0.02, -0.01, 0.02, -0.01])
    none = np.zeros(half.shape, dtype=bool)
    assert behind(half, none).tolist() == [True, False, False, True]
    assert behind(half, none | [True, False, False, False]).tolist() == [False] * 3 + [True]
    assert not behind(half, none | [False, True, False, False]).any()
    assert not behind(half[:, [1, 1]], none[:, :2]).any()


@pytest.mark.parametrize("worse", [0, 3], ids=["among equals", "beside worse"])
def test_the_best_is_rarely_told_from_the_first(worse):
    rng, repeats = np.random.default_rng(0), 600
    none, low = np.zeros((6, 8), dtype=bool), np.arange(8) > 7 - 2 * worse
    told = [behind(rng.normal(size=(6, 8)) - 20 * low, none)[0] for _ in range(repeats)]
    assert np.mean(told) < 0.05
