"""flatness.py: numbers of a model at small α, their intervals, and the radius."""

import math

import numpy as np
import pandas as pd
import pytest

from analysis import flatness
from analysis.intervals import RUN
from analysis.verdicts import t_factor

ALPHA = np.array([0.01, 0.05, 0.1, 0.5, 1.0])
QUARTIC = 2.4
NAMES = ("measured", "trace", "share", "radius")


def simulate(rng, share=0.8, pairs=12, seeds=3, quartic=0.5, spread=0.1) -> pd.DataFrame:
    """Return pairs of models with C = 2 · `spread` over seeds, forms of `share` of C, and a term
    `quartic` · α⁴."""
    rows = []
    for seed in range(seeds):
        level = 2 * np.exp(spread * rng.normal())
        for draw in range(pairs):
            own = level * np.exp(0.3 * rng.normal())
            form = share * own * np.exp(0.05 * rng.normal())
            for a in ALPHA:
                even = a**2 * own / 2 + quartic * a**4
                rows.append(("m", "clean", seed, a, draw, even, a**2 * form / 2))
    return pd.DataFrame(rows, columns=[*RUN, "alpha", "draw", "even", "predicted"])


def test_the_level_is_that_of_least_squares():
    terms = np.array([[1, 2], [3, 4]]) @ np.array([ALPHA**2 / 2, 0 * ALPHA])
    assert flatness.small_terms(ALPHA, terms) == pytest.approx([1, 3])
    bent = ALPHA[None] ** 2 / 2 * np.where(ALPHA == 0.1, 2.0, 1.0)
    near = ALPHA[:3] ** 4
    expected = (near @ [1, 1, 2]) / near.sum()
    assert flatness.small_terms(ALPHA, bent) == pytest.approx([expected])
    assert np.isnan(flatness.small_terms(np.array([0.5]), np.ones((1, 1)))).all()


def test_the_radius_is_relative_to_the_level_and_not_to_the_prediction():
    """A flat offset, as kinks make, is not the end of the second order."""
    for c in (0.3, 1.0, 3.0):
        assert flatness.radius(ALPHA, c * ALPHA**2 / 2, c) == (1.0, math.inf)
        low, high = flatness.radius(ALPHA, c * ALPHA**2 / 2 * (1 + 4 * (ALPHA > 0.5)), c)
        part = math.log(2) / math.log(5)
        assert low == high == pytest.approx(0.5 * 2**part)


def test_a_term_that_sinks_below_half_or_is_not_known_ends_the_radius():
    for bad in (-1.0, np.nan, 0.0):
        term = ALPHA**2 / 2 * np.where(ALPHA == 1, bad, 1)
        low, high = flatness.radius(ALPHA, term, 1.0)
        assert low == high == pytest.approx(0.5**0.5)  # as if it were off by a factor of four
    assert flatness.radius(ALPHA, ALPHA**2 / 2 * 0.1, 1.0)[0] == pytest.approx(
        0.1 * 5 ** (math.log(2) / math.log(10))
    )
    assert all(map(math.isnan, flatness.radius(ALPHA, ALPHA, -1.0)))
    assert all(map(math.isnan, flatness.radius(ALPHA[3:], ALPHA[3:], 1.0)))


def test_what_differs_between_draws_is_no_error_of_the_share():
    """Prediction and measurement are of the same draws."""
    pairs = simulate(np.random.default_rng(0), seeds=1, quartic=0.0)
    found = flatness.of_runs(pairs).iloc[0]
    assert found.measured_error > 0.05 and found.trace_error > 0.05
    assert found.share_error < 0.03 and found.share == pytest.approx(0.8, rel=0.05)
    shifted = pairs.assign(predicted=pairs.predicted.groupby(pairs.alpha).shift(1))
    assert np.isnan(flatness.of_runs(shifted).share[0])  # one form is missing


def test_an_unmeasured_draw_of_one_strength_takes_no_part():
    pairs = simulate(np.random.default_rng(0), seeds=1)
    part = pairs[(pairs.draw != 3) | (pairs.alpha < 1)]
    whole = flatness.of_runs(pairs[pairs.draw != 3])
    pd.testing.assert_frame_equal(flatness.of_runs(part), whole)
    assert whole.pairs[0] == 11


def test_a_level_that_is_not_positive_is_not_known():
    pairs = simulate(np.random.default_rng(0), seeds=2).assign(even=lambda t: -t.even)
    runs = flatness.of_runs(pairs)
    assert runs[["measured", "share", "radius_low"]].isna().all(axis=None)
    assert runs.trace.notna().all()
    assert math.isnan(flatness.over_seeds(runs, "measured")["mean"])


def test_a_model_whose_pairs_do_not_tell_its_curvature_from_0_is_known():
    pairs = simulate(np.random.default_rng(0))
    assert flatness.vague(flatness.of_runs(pairs)).empty
    sign = np.where(pairs.draw % 2, 3.0, -2.5)  # of either sign, and little in all
    pairs.loc[pairs.seed == 1, "even"] *= sign[pairs.seed == 1]
    assert [*flatness.vague(flatness.of_runs(pairs)).seed] == [1]


@pytest.mark.parametrize(("seeds", "trials"), [(1, 100), (3, 60)])
def test_intervals_cover_what_they_say(seeds, trials):
    """Of 95%, over pairs and over seeds; a quartic term ends the radius."""
    rng, hits = np.random.default_rng(1), dict.fromkeys(NAMES, 0)
    mean = 2 * math.exp(0.3**2 / 2)  # of log-normal pairs
    term = ALPHA**2 * mean / 2 + QUARTIC * ALPHA**4
    level = flatness.small_terms(ALPHA, term[None])[0]
    trace = 0.8 * mean * math.exp(0.05**2 / 2)
    truth = {"measured": level, "trace": trace, "share": trace / level}
    ends, _ = flatness.radius(ALPHA, term, level)
    assert 0.5 < ends < 1
    for _ in range(trials):
        pairs = simulate(rng, seeds=seeds, quartic=QUARTIC, spread=0.1 * (seeds > 1))
        runs = flatness.of_runs(pairs)
        for name, true in truth.items():
            found = flatness.over_seeds(runs, name)
            hits[name] += found["low"] <= true <= found["high"]
        found = flatness.radius_over_seeds(runs)
        assert found["low"] < found["mean_low"] == found["mean_high"] < found["high"]
        hits["radius"] += found["low"] <= ends <= found["high"]
    assert 0.9 * trials < min(hits.values()) and hits["measured"] < trials, hits


def test_seeds_that_agree_by_luck_are_as_far_apart_as_their_pairs_say():
    runs = pd.concat([flatness.of_runs(simulate(np.random.default_rng(0), seeds=1))] * 2)
    runs["seed"] = [0, 1]
    found = flatness.over_seeds(runs, "measured")
    half = t_factor(2) * runs.measured_error.iloc[0] / 2**0.5
    assert np.log(found["high"] / found["mean"]) == pytest.approx(half)


def test_regimes_are_compared_seed_by_seed():
    pairs = simulate(np.random.default_rng(0), spread=1.0)
    other = pairs.assign(regime="noisy", even=pairs.even / 4, predicted=pairs.predicted / 3)
    ratios = flatness.against_baseline(flatness.of_runs(pd.concat([pairs, other[other.seed > 0]])))
    assert list(ratios.seed) == [1, 2]
    np.testing.assert_allclose(ratios.measured, 1 / 4)
    np.testing.assert_allclose(ratios.trace, 1 / 3)
