"""Cost and tolerance: what they are, their intervals and words, what is not reached; the lines."""

import math

import numpy as np
import pandas as pd
import pytest

from analysis import endpoints
from analysis.endpoints import COST, RATIO, TOLERANCE
from analysis.intervals import paired_effects
from analysis.verdicts import BETTER, EQUIVALENT, UNRESOLVED, WORSE, t_factor
from reporting.endpoints import say_endpoints
from simulated import make_rows, not_above, within_error

ALPHAS = np.array([0.0, *np.geomspace(0.1, 4, 20)])


def accuracy_of(half: np.ndarray, start: np.ndarray, alphas=ALPHAS, steepness=4.0) -> np.ndarray:
    """Return curves that are halfway from start to chance at α = half, (..., α)."""
    fall = 1 / (1 + (alphas / half[..., None]) ** steepness)
    return 0.1 + (start[..., None] - 0.1) * fall


def experiments(seeds: int, repeats: int, cost=0.01, ratio=1.2, spread=0.05, alphas=ALPHAS):
    """Return rows of experiments whose log α₅₀ and starts are normal over seeds, one draw each."""
    rng = np.random.default_rng(seeds)
    shape = (repeats, 2, seeds)
    half = np.exp(spread * rng.normal(size=shape) / math.sqrt(2))
    start = 0.95 + 0.003 * rng.normal(size=shape)
    half[:, 1] *= ratio
    start[:, 1] -= cost
    return make_rows(accuracy_of(half, start, alphas)[..., None], alphas, 10**6)


def found(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of the costs and those of the tolerances."""
    table = endpoints.endpoints(rows)
    return table[table.endpoint == COST], table[table.endpoint == TOLERANCE]


def test_the_endpoints_are_what_they_are_defined_as():
    half, start = np.array([[[1.0, 1.1, 0.9]], [[1.5, 1.4, 1.6]]]), np.full((2, 1, 3), 0.95)
    half, start = half.transpose(1, 0, 2), start.transpose(1, 0, 2)
    start[0, 1] = 0.94
    rows = make_rows(accuracy_of(half, start)[..., None], ALPHAS, 10**6)
    (cost,), (tolerance,) = (list(table.itertuples()) for table in found(rows))
    assert cost.value_low == cost.value_high == pytest.approx(1.0) and cost.unit == "points"
    ratios = half[0, 1] / half[0, 0]
    geometric = math.exp(np.log(ratios).mean())
    assert tolerance.value_low == tolerance.value_high == pytest.approx(geometric, rel=5e-3)
    sd = np.log(ratios).std(ddof=1)
    assert tolerance.sd == pytest.approx(sd, rel=0.02)
    width = float(t_factor(3, 2)) * sd / math.sqrt(3)
    assert math.log(tolerance.high / tolerance.low) == pytest.approx(2 * width, rel=0.02)
    assert (cost.comparisons, tolerance.comparisons, tolerance.not_reached) == (2, 2, "")


@pytest.mark.parametrize("seeds", [3, *(pytest.param(n, marks=pytest.mark.slow) for n in (6, 10))])
def test_both_hold_together_and_false_words_are_at_most_5_percent(seeds):
    repeats = 300
    costs, tolerances = found(experiments(seeds, repeats, cost=0.01, ratio=RATIO))
    inside = [
        ((costs.low <= 1) & (costs.high >= 1)).to_numpy(),
        ((tolerances.low <= RATIO) & (tolerances.high >= RATIO)).to_numpy(),
    ]
    together = inside[0] & inside[1]
    assert within_error(together.mean(), 0.95, repeats)  # of independent numbers: .9506
    false_cost = costs.verdict.isin([BETTER, EQUIVALENT]).to_numpy()
    false_tolerance = tolerances.verdict.isin([WORSE, EQUIVALENT]).to_numpy()
    assert not_above((false_cost | false_tolerance).mean(), 0.05, repeats)


def test_words_are_read_from_the_intervals_with_margins_of_their_own():
    costs, tolerances = found(experiments(10, 20, cost=0.0, ratio=1.0, spread=0.02))
    assert {EQUIVALENT} <= set(costs.verdict) and {EQUIVALENT} <= set(tolerances.verdict)
    for row in tolerances.itertuples():
        inside = row.low > 1 / RATIO and row.high < RATIO
        assert (row.verdict == EQUIVALENT) == (inside and row.low <= 1 <= row.high)
    costs, tolerances = found(experiments(10, 5, cost=0.05, ratio=2.0))
    assert set(costs.verdict) == {WORSE} and set(tolerances.verdict) == {BETTER}


def test_the_word_for_0_by_strength_is_the_endpoints():
    rows = experiments(3, 40, cost=0.004)
    effects = paired_effects(rows)
    start = effects[effects.alpha == 0].reset_index(drop=True)
    costs = found(rows)[0].reset_index(drop=True)
    assert start.verdict.tolist() == costs.verdict.tolist()
    np.testing.assert_allclose(costs.low, -100 * start.high)


def test_regimes_share_the_error():
    rows = experiments(3, 1)
    more = pd.concat([rows, rows[rows.regime == "noisy"].assign(regime="sam")])
    table = endpoints.endpoints(more)
    assert len(table) == 4 and set(table.comparisons) == {4}
    widths = [
        (t[t.endpoint == COST].high - t[t.endpoint == COST].low).iloc[0]
        for t in (table, endpoints.endpoints(rows))
    ]
    assert widths[0] / widths[1] == pytest.approx(float(t_factor(3, 4) / t_factor(3, 2)))


def test_what_is_not_reached_is_a_bound_in_words():
    short = ALPHAS[ALPHAS < 1.3]
    rows = experiments(4, 1, ratio=2.0, alphas=short)
    (row,) = found(rows)[1].itertuples()
    assert row.censored == 4 and row.not_reached == "noisy"
    assert math.isinf(row.value_high) and math.isinf(row.high) and 1 < row.low < row.value_low < 2
    assert row.verdict == BETTER
    (line,) = say_endpoints(endpoints.endpoints(rows.assign(architecture="net")), "net")
    assert f"tolerance × {row.value_low:.2f} or more [{row.low:.2f}, –]" in line
    assert line.endswith("(better; α₅₀ of noisy not reached)")
    neither = endpoints.endpoints(experiments(4, 1, ratio=2.0, alphas=ALPHAS[ALPHAS < 0.5]))
    last = neither.iloc[1]
    assert (last.value_low, last.value_high, last.verdict) == (0, math.inf, UNRESOLVED)
    (line,) = say_endpoints(neither, 0)
    assert "tolerance not known (unresolved; α₅₀ of clean and noisy not reached)" in line


def test_a_baseline_that_is_not_reached_bounds_from_above():
    short = ALPHAS[ALPHAS < 1.3]
    swapped = experiments(4, 1, ratio=2.0, alphas=short)
    swapped = swapped.assign(regime=swapped.regime.map({"clean": "noisy", "noisy": "clean"}))
    (row,) = found(swapped)[1].itertuples()
    assert row.value_low == row.low == 0 and row.high < 1 and row.verdict == WORSE
    assert row.not_reached == "clean"


def test_seeds_with_strengths_of_their_own_count_whole():
    rows = experiments(3, 1)
    fewer = rows[(rows.seed > 0) | rows.alpha.isin(ALPHAS[::2])]
    one, other = (found(r)[1].iloc[0] for r in (rows, fewer))
    assert other.seeds == 3 and other.value_low == pytest.approx(one.value_low, rel=0.02)


def test_chance_is_the_rows_own():
    rows = experiments(3, 1)
    assert found(rows.assign(chance=0.1))[1].equals(found(rows)[1])
    assert not found(rows.assign(chance=0.5))[1].equals(found(rows)[1])


def test_seeds_that_agree_take_the_spread_of_their_draws_or_one_image():
    half = np.array([[[1.0] * 3], [[1.2] * 3]]).transpose(1, 0, 2)
    curve = accuracy_of(half, np.full((1, 2, 3), 0.95))[..., None]
    (row,) = found(make_rows(curve, ALPHAS, 10_000))[1].itertuples()
    assert 0 < row.sd < 1e-3 and row.low < row.value_low < row.high and row.verdict == BETTER
    factors = np.array([0.9, 1.0, 1.1])
    by_draw = [
        accuracy_of(half * np.array([1.0, f])[:, None], np.full((1, 2, 3), 0.95)) for f in factors
    ]
    (row,) = found(make_rows(np.stack(by_draw, axis=-1), ALPHAS, 10_000))[1].itertuples()
    expected = np.log(factors).std(ddof=1) / math.sqrt(3)
    assert row.sd == row.within == pytest.approx(expected, rel=0.02)


def test_one_seed_or_no_start_gives_numbers_without_verdicts():
    rows = experiments(3, 1).assign(architecture="net")
    one = endpoints.endpoints(rows[rows.seed == 0])
    assert one.verdict.tolist() == [UNRESOLVED] * 2 and one.value_low.notna().all()
    (line,) = say_endpoints(one, "net")
    assert line.count("(one seed, no verdict)") == 2 and "±" not in line and "nan" not in line
    (line,) = say_endpoints(endpoints.endpoints(rows[rows.alpha > 0]), "net")
    assert line == "net noisy: cost not measured, tolerance not measured"
    (line,) = say_endpoints(endpoints.endpoints(rows[rows.alpha == 0]), "net")
    assert line.startswith("net noisy: cost ") and line.endswith(", tolerance not measured")
    assert endpoints.endpoints(rows[rows.regime == "clean"]).empty


def test_the_line_is_the_documented_one():
    row = {"architecture": "cnn", "regime": "noisy", "seeds": 6, "censored": 0, "not_reached": ""}
    cost = {"endpoint": COST, "value_low": 0.2, "value_high": 0.2, "low": 0.1, "high": 0.3}
    ratio = {"endpoint": TOLERANCE, "value_low": 1.22, "value_high": 1.22, "low": 1.14, "high": 1.3}
    table = pd.DataFrame([row | cost | {"verdict": WORSE}, row | ratio | {"verdict": BETTER}])
    assert say_endpoints(table, "cnn") == [
        "cnn noisy: cost 0.20 ± 0.10 points (worse), tolerance × 1.22 [1.14, 1.30] (better)"
    ]


@pytest.mark.parametrize(
    ("cost", "ratio", "said"),
    [
        ((0.124, 0.0005, WORSE), (1.2, 1.004, BETTER), "cost 0.124 ± 0.123 points (worse)"),
        ((0.5, 0.004, EQUIVALENT), (1.0, 0.9530, EQUIVALENT), "[0.953, "),
        ((-0.3, -0.601, UNRESOLVED), (1.1, 0.99, UNRESOLVED), "[0.99, "),
        ((0.124, 0.0005, WORSE), (1.2, 1.004, BETTER), "[1.004, "),
    ],
)
def test_rounding_never_makes_a_word_and_its_interval_disagree(cost, ratio, said):
    row = {"architecture": "cnn", "regime": "noisy", "seeds": 6, "censored": 0, "not_reached": ""}
    points, times = (
        {"value_low": mean, "value_high": mean, "low": low, "high": high, "verdict": word}
        for mean, low, word, high in (
            (*cost, 2 * cost[0] - cost[1]),
            (*ratio, ratio[0] ** 2 / ratio[1]),
        )
    )
    table = pd.DataFrame([row | {"endpoint": COST} | points, row | {"endpoint": TOLERANCE} | times])
    (line,) = say_endpoints(table, "cnn")
    assert said in line


def test_a_model_that_only_guesses_has_no_tolerance():
    """Its accuracy is just that of chance where the classes are as many: nothing falls halfway."""
    curves = accuracy_of(np.ones((1, 2, 3)), np.full((1, 2, 3), 0.95))
    guessing = curves.copy()
    guessing[:, 1, 0] = 0.1
    for values in (guessing, np.full_like(curves, 0.1)):
        (row,) = found(make_rows(values[..., None], ALPHAS, 10_000))[1].itertuples()
        assert (row.low, row.high, row.verdict) == (0, math.inf, UNRESOLVED)


def test_draws_of_a_second_stage_leave_less_of_the_tolerance():
    rng = np.random.default_rng(0)
    half = np.exp(0.1 * rng.normal(size=(1, 2, 3, 30)))
    curves = np.stack([accuracy_of(h, np.full((1, 2, 3), 0.95)) for h in np.moveaxis(half, -1, 0)])
    rows = make_rows(np.moveaxis(curves, 0, -1), ALPHAS, 10**6)
    steep = rows[(rows.draw < 10) | (rows.alpha > 0.5)]
    (few,), (more,), (every,) = (
        list(found(part)[1].itertuples()) for part in (rows[rows.draw < 10], steep, rows)
    )
    assert (few.draws, more.draws, every.draws) == (10, 30, 30)
    assert more.within == pytest.approx(few.within / math.sqrt(3), rel=0.01)
    assert more.within == pytest.approx(every.within, rel=0.4)


def test_equal_breaks_on_a_plateau_have_no_interval():
    """Where one image more moves the crossing nobody knows how far, there is no least spread."""
    flat = np.where(ALPHAS < 1, 0.9, 0.5)
    rows = make_rows(np.broadcast_to(flat[:, None], (1, 2, 3, len(ALPHAS), 2)), ALPHAS, 10_000)
    (row,) = found(rows)[1].itertuples()
    assert (row.value_low, row.low, row.high, row.verdict) == (1, 0, math.inf, UNRESOLVED)
