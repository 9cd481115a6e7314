"""Intervals, verdicts, curve metrics and curvature against known truth."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from analysis import curvature, curves, intervals
from analysis.by_layer import by_layer

REPEATS = 2000
TOTAL = 10_000
ALPHAS = (0.0, 0.1, 0.3, 1.0, 2.0)


def make_rows(accuracy: np.ndarray, alphas=ALPHAS, total=TOTAL) -> pd.DataFrame:
    """Return the rows of many experiments as architectures of one table.

    Args:
        accuracy: (experiments, regimes, seeds, α, draws).
    """
    shape = accuracy.shape
    index = np.indices(shape).reshape(len(shape), -1)
    return pd.DataFrame(
        {
            "architecture": index[0],
            "regime": np.array(["clean", "noisy"])[index[1]],
            "seed": index[2],
            "alpha": np.array(alphas)[index[3]],
            "draw": index[4],
            "sign": 1,
            "correct": np.rint(accuracy.reshape(-1) * total).astype(int),
            "total": total,
            "loss": (1 - accuracy.reshape(-1)) * total,
        }
    )


def simulate(
    seeds: int, effect=0.0, repeats=REPEATS, spread=0.003, shared=0.5, draws=3
) -> pd.DataFrame:
    """Return experiments of two variance components: seeds (of each α, in part shared by the
    regimes) and draws inside them (in part shared, as common random numbers are)."""
    rng = np.random.default_rng(seeds)

    def component(*shape, sd):
        common = rng.normal(size=(repeats, 1, *shape))
        own = rng.normal(size=(repeats, 2, *shape))
        return sd * (math.sqrt(shared) * common + math.sqrt(1 - shared) * own)

    truth = np.array([0.95, 0.94, 0.9, 0.7, 0.4])[:, None]  # (α, 1)
    by_seed = component(seeds, len(ALPHAS), 1, sd=spread)
    by_draw = component(seeds, len(ALPHAS), draws, sd=2 * spread)
    regime = np.array([0.0, effect]).reshape(1, 2, 1, 1, 1)
    return make_rows(truth + regime + by_seed + by_draw)


def within_error(observed: float, expected: float, repeats: int = REPEATS) -> bool:
    """Return whether a rate is within three Monte Carlo standard errors of the expected one."""
    return abs(observed - expected) <= 3 * math.sqrt(expected * (1 - expected) / repeats)


def not_above(observed: float, limit: float, repeats: int = REPEATS) -> bool:
    """Return whether a rate exceeds a limit by no more than three standard errors."""
    return observed <= limit + 3 * math.sqrt(limit * (1 - limit) / repeats)


# --- coverage -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seeds", [3, 10])
def test_intervals_cover_95_percent(seeds):
    table = intervals.mean_accuracy(simulate(seeds, effect=0.01))
    truth = table.alpha.map(dict(zip(ALPHAS, (0.95, 0.94, 0.9, 0.7, 0.4), strict=True)))
    truth += 0.01 * (table.regime == "noisy")
    covered = (table.low <= truth) & (truth <= table.high)
    for _, cell in covered.groupby([table.regime, table.alpha]):
        assert len(cell) == REPEATS
        assert within_error(cell.mean(), 0.95)


@pytest.mark.parametrize("seeds", [3, 10])
def test_simultaneous_intervals_cover_together_and_are_not_wasteful(seeds):
    table = intervals.paired_effects(simulate(seeds, effect=0.01))
    noisy = table[table.alpha > 0]
    covered = (noisy.low <= 0.01) & (noisy.high >= 0.01)
    family = covered.groupby(noisy.architecture).all().mean()
    # independent seeds at every α: Bonferroni is then nearly exact, 1 − (1 − 0.05/4)⁴ = 0.0491
    assert within_error(family, 1 - 0.0491)
    start = table[table.alpha == 0]
    assert within_error(((start.low <= 0.01) & (start.high >= 0.01)).mean(), 0.95)


@pytest.mark.parametrize("seeds", [3, 10])
@pytest.mark.parametrize("shared", [0.0, 0.5, 1 - 1e-9])
def test_false_verdicts_of_a_family_are_at_most_5_percent(seeds, shared):
    table = intervals.paired_effects(simulate(seeds, effect=0.0, shared=shared))
    wrong = (table.alpha > 0) & (table.verdict != intervals.UNRESOLVED)
    assert not_above(wrong.groupby(table.architecture).any().mean(), 0.05)


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
@pytest.mark.parametrize("spread", [0.1, 0.3, 0.6, 1.0, 3.0])  # in images
def test_counts_that_hardly_vary_give_no_false_verdicts(seeds, spread):
    rng = np.random.default_rng(0)
    alphas = tuple(0.01 * k for k in range(12))
    level = 0.5 + rng.uniform(size=(REPEATS, 1, 1, 12, 1)) / TOTAL  # between two counts
    noise = rng.normal(size=(REPEATS, 2, seeds, 12, 1)) * spread / TOTAL
    table = intervals.paired_effects(make_rows(level + noise, alphas))
    wrong = (table.alpha > 0) & (table.verdict != intervals.UNRESOLVED)
    assert not_above(wrong.groupby(table.architecture).any().mean(), 0.05)


def test_planned_number_of_seeds_has_the_stated_power():
    sd, effect = 0.008, 0.01
    needed = int(intervals.seeds_needed([sd], [4], effect)[0])
    rates = []
    for seeds in (needed - 1, needed):
        difference = np.random.default_rng(seeds).normal(effect, sd, (20_000, seeds))
        low = difference.mean(1) - intervals.t_factor(seeds, 4) * difference.std(
            1, ddof=1
        ) / math.sqrt(seeds)
        rates.append((low > 0).mean())
    assert rates[0] < 0.8 + 0.01 and rates[1] > 0.8 - 0.01
    assert rates[0] < rates[1]


# --- intervals and verdicts ---------------------------------------------------------------------


def one(clean, noisy, alphas=(0.0, 1.0), total=TOTAL) -> pd.DataFrame:
    """Return one experiment from accuracies (seeds, α) of each regime, one draw each."""
    return make_rows(np.array([[clean, noisy]])[..., None], alphas, total)


def test_draws_are_averaged_inside_seeds_and_seeds_are_the_units():
    accuracy = np.repeat([0.9, 0.7, 0.8], 3).reshape(1, 1, 3, 1, 3)  # three draws of each seed
    rows = make_rows(accuracy, (1.0,))
    (row,) = intervals.mean_accuracy(rows).itertuples()
    assert (row.seeds, row.draws_min, row.draws_max) == (3, 3, 3)
    assert row.mean == pytest.approx(0.8)
    assert row.half == pytest.approx(4.302653 * 0.1 / math.sqrt(3))  # 2 degrees of freedom, not 8


def test_simultaneous_factor_is_bonferroni_and_grows_with_the_family():
    assert intervals.t_factor(3) == pytest.approx(4.302653)
    assert intervals.t_factor(3, 11) == pytest.approx(scipy_stats.t.ppf(1 - 0.025 / 11, 2))
    assert math.isnan(intervals.t_factor(1))
    rows = simulate(3, repeats=1)
    effects = intervals.paired_effects(rows)
    assert set(effects[effects.alpha > 0].comparisons) == {4}
    assert set(effects[effects.alpha == 0].comparisons) == {1}


def test_verdicts_come_from_the_interval():
    better = one([[0.9, 0.50], [0.9, 0.51], [0.9, 0.52]], [[0.9, 0.60], [0.9, 0.611], [0.9, 0.62]])
    effect = intervals.paired_effects(better).set_index("alpha").loc[1.0]
    assert effect.verdict == intervals.BETTER
    assert effect.low > 0
    assert effect.effect == pytest.approx(0.101 - 0.002 / 3)
    flipped = better.assign(regime=better.regime.map({"clean": "noisy", "noisy": "clean"}))
    assert intervals.paired_effects(flipped).set_index("alpha").verdict[1.0] == intervals.WORSE


def test_zero_variance_over_seeds_takes_one_image():
    rows = one([[0.9, 0.5]] * 3, [[0.9, 0.5003]] * 3)
    effect = intervals.paired_effects(rows).set_index("alpha").loc[1.0]
    assert effect.sd == 1 / TOTAL
    assert effect.half == pytest.approx(4.302653 / TOTAL / math.sqrt(3))
    assert effect.verdict == intervals.BETTER
    one_image = one([[0.9, 0.5]] * 3, [[0.9, 0.5001]] * 3)
    assert intervals.paired_effects(one_image).verdict.tolist() == [intervals.UNRESOLVED] * 2


def test_one_seed_has_no_interval_and_no_verdict():
    (_, effect) = intervals.paired_effects(one([[0.9, 0.5]], [[0.9, 0.8]])).itertuples()
    assert math.isnan(effect.half) and effect.verdict == intervals.UNRESOLVED


def test_a_lower_start_is_not_mistaken_for_robustness():
    start = [[0.90, 0.50], [0.91, 0.51], [0.89, 0.48]]
    lower = [[0.80, 0.50], [0.81, 0.51], [0.79, 0.48]]
    rows = one(start, lower)
    accuracy, drop, retention = (
        intervals.paired_effects(rows, quantity).set_index("alpha").loc[1.0]
        for quantity in ("accuracy", "drop", "retention")
    )
    assert accuracy.verdict == intervals.UNRESOLVED and accuracy.effect == 0
    assert drop.high < 0 and retention.low > 0  # what alone would have looked like a success


def test_pairs_use_the_draws_that_both_have_and_the_rest_is_reported():
    rng = np.random.default_rng(0)
    rows = make_rows(rng.uniform(0.4, 0.6, (1, 2, 3, 2, 5)), (0.0, 1.0))
    rows = rows[(rows.alpha > 0) | (rows.draw == 0)]
    assert intervals.find_unpaired(rows) == []
    lost = (rows.regime == "noisy") & (rows.seed == 1) & (rows.alpha == 1) & (rows.draw == 2)
    paired = intervals.paired(rows[~lost])
    seed = paired[(paired.seed == 1) & (paired.alpha == 1)].iloc[0]
    common = rows[(rows.seed == 1) & (rows.alpha == 1) & (rows.draw != 2)]
    means = common.groupby("regime").correct.mean() / TOTAL
    assert seed.draws == 4
    assert seed.accuracy == pytest.approx(means["noisy"] - means["clean"])
    assert intervals.find_unpaired(rows[~lost]) == [
        "0, seed 1: 0 measurements of noisy and 1 of clean have no partner (at α = 1)"
    ]
    effects = intervals.paired_effects(rows[~lost]).set_index("alpha")
    assert effects.draws[1.0] == 4


def test_a_missing_seed_shows_in_n_and_is_reported():
    rows = simulate(3, repeats=1)
    gone = (rows.regime == "noisy") & (rows.seed == 2)
    assert set(intervals.paired_effects(rows[~gone]).seeds) == {2}
    by_regime = intervals.mean_accuracy(rows[~gone]).groupby("regime").seeds.first()
    assert by_regime.to_dict() == {"clean": 3, "noisy": 2}
    assert intervals.find_unpaired(rows[~gone]) == [
        "0, seed 2: 0 measurements of noisy and 15 of clean have no partner"
        " (at α = 0, 0.1, 0.3, 1, 2)"
    ]


def test_minus_draws_do_not_enter_accuracies():
    rows = simulate(3, repeats=1)
    minus = rows[rows.alpha > 0].assign(sign=-1, correct=0)
    both = pd.concat([rows, minus])
    pd.testing.assert_frame_equal(intervals.mean_accuracy(both), intervals.mean_accuracy(rows))
    pd.testing.assert_frame_equal(intervals.paired_effects(both), intervals.paired_effects(rows))
    pd.testing.assert_frame_equal(intervals.spread_of_draws(both), intervals.spread_of_draws(rows))


def test_a_loss_that_is_not_finite_is_not_averaged_away():
    rows = simulate(3, repeats=1)
    rows.loc[rows.index[(rows.alpha == 2) & (rows.seed == 0)][0], "loss"] = np.nan
    means = intervals.draw_means(rows).set_index(["regime", "seed", "alpha"]).loss
    assert math.isnan(means["clean", 0, 2.0]) and not math.isnan(means["noisy", 0, 2.0])


def test_spread_of_draws_stays_inside_seeds():
    rows = make_rows(np.array([[[[np.linspace(0, 0.2, 5)], [np.linspace(0.5, 0.7, 5)]]]]), (1.0,))
    (spread,) = intervals.spread_of_draws(rows).itertuples()
    assert (spread.seeds, spread.draws, spread.lowest) == (2, 10, 0.0)
    assert (spread.q05, spread.q50, spread.q95) == pytest.approx((0.26, 0.35, 0.44))


FUNCTIONS = [
    intervals.draw_means,
    intervals.mean_accuracy,
    intervals.spread_of_draws,
    intervals.paired,
    intervals.paired_effects,
    curves.curve_metrics,
    lambda rows: curves.metrics_over_seeds(curves.curve_metrics(rows)),
    lambda rows: curves.paired_metrics(curves.curve_metrics(rows)),
]


@settings(deadline=None, max_examples=15)
@given(order=st.randoms(use_true_random=False), function=st.sampled_from(FUNCTIONS))
def test_order_of_rows_changes_nothing(order, function):
    rows = simulate(3, repeats=2)
    shuffled = list(range(len(rows)))
    order.shuffle(shuffled)
    pd.testing.assert_frame_equal(function(rows.iloc[shuffled]), function(rows), check_exact=True)


# --- what it would take -------------------------------------------------------------------------


def test_seeds_needed_agree_with_the_noncentral_t():
    for sd, family in ((0.004, 1), (0.01, 11), (0.02, 4)):
        n = int(intervals.seeds_needed([sd], [family])[0])

        def power(n, sd=sd, family=family):
            limit = float(intervals.t_factor(n, family))
            return scipy_stats.nct.sf(limit, n - 1, 0.01 / sd * math.sqrt(n))

        assert power(n - 1) < 0.805 and power(n) > 0.795


def test_seeds_needed_grow_with_spread_are_capped_and_carry_unknowns():
    needed = intervals.seeds_needed([0.0, 0.001, 0.01, 0.02, 0.2, np.nan], [11] * 6)
    assert list(needed[:4]) == sorted(needed[:4]) and needed[0] >= 2
    assert needed[4] == np.inf and math.isnan(needed[5])


def test_range_of_the_spread_covers_it():
    values = np.random.default_rng(0).normal(0, 2.0, (4000, 3))
    low, high = intervals.sd_interval(values.std(1, ddof=1), np.full(4000, 3))
    assert within_error(((low <= 2) & (high >= 2)).mean(), 0.95, 4000)


def test_what_it_takes_names_every_unresolved_effect_with_a_range():
    effects = intervals.paired_effects(simulate(3, repeats=3, spread=0.02))
    table = intervals.what_it_takes(effects)
    open_ = (effects.verdict == intervals.UNRESOLVED) & (effects.alpha > 0)
    assert len(table) == open_.sum() > 0
    assert (table.needed_low <= table.needed).all() and (table.needed <= table.needed_high).all()


def test_half_width_serves_a_stopping_rule():
    values = [0.5, 0.52, 0.48, 0.5]
    expected = scipy_stats.t.ppf(0.975, 3) * np.std(values, ddof=1) / 2
    assert intervals.half_width(values) == pytest.approx(expected)
    assert math.isnan(intervals.half_width([0.5]))
    assert intervals.half_width([0.5] * 10, floor=1e-4) == pytest.approx(2.262157 * 1e-4 / 10**0.5)


# --- curve metrics ------------------------------------------------------------------------------

GRID = np.array([0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0])


def curve_rows(accuracy, alphas=(0.0, *GRID), loss=None) -> pd.DataFrame:
    """Return one clean run with the given accuracies (k,), not rounded to visible counts."""
    total = 10**12
    rows = make_rows(np.array(accuracy).reshape(1, 1, 1, -1, 1), alphas, total)
    return rows if loss is None else rows.assign(loss=np.array(loss) * total)


def metrics_of(rows: pd.DataFrame) -> dict:
    """Return the bounds of every metric of the only run."""
    table = curves.curve_metrics(rows)
    return {row.metric: (row.low, row.high) for row in table.itertuples()}


def test_metrics_of_a_curve_linear_in_log_alpha():
    slope = 0.8 / math.log(200)
    accuracy = [0.9, *(0.9 - slope * np.log(GRID / 0.01))]  # from 0.9 at 0.01 to 0.1 at 2
    metrics = metrics_of(curve_rows(accuracy))
    half = 0.01 * math.exp(0.4 / slope)  # 0.5, halfway between 0.9 and 0.1
    assert metrics["alpha_half"] == pytest.approx((half, half))
    assert not np.isclose(GRID, half, rtol=0.01).any()  # interpolated, not snapped to the grid
    point = 0.01 * math.exp(0.01 / slope)
    assert metrics["alpha_point"] == pytest.approx((point, point))
    assert metrics["area"] == pytest.approx((0.5, 0.5))
    assert metrics["retention"] == pytest.approx((1 / 9, 1 / 9))


def test_curvature_of_a_quadratic_curve_is_its_coefficient():
    alpha = np.array([0.0, *GRID])
    near = np.where(alpha <= curves.SMALL, alpha, curves.SMALL)  # anything at large α
    rows = curve_rows(0.9 - 0.7 * near**2, loss=0.3 + 2.5 * near**2)
    metrics = metrics_of(rows)
    assert metrics["accuracy_curvature"] == pytest.approx((0.7, 0.7))
    assert metrics["loss_curvature"] == pytest.approx((2.5, 2.5))


def test_metrics_beyond_the_sweep_are_censored():
    flat = metrics_of(curve_rows([0.9] * 9))
    assert flat["alpha_half"] == flat["alpha_point"] == (2.0, math.inf)
    steep = metrics_of(curve_rows([0.9] + [0.1] * 8))
    assert steep["alpha_half"] == steep["alpha_point"] == (0.0, 0.01)


def test_the_first_crossing_counts():
    back = [0.9, 0.9, 0.9, 0.9, 0.4, 0.9, 0.4, 0.1, 0.1]
    low, high = metrics_of(curve_rows(back))["alpha_half"]
    assert 0.05 < low == high < 0.1


def test_a_missing_start_or_end_gives_no_metric():
    no_start = curves.curve_metrics(curve_rows([0.9] * 8, GRID)).set_index("metric")
    assert no_start.low.notna().to_dict() == {m: m == "area" for m in curves.METRICS}
    both = pd.concat([curve_rows([0.9] * 9), curve_rows([0.9] * 8, (0, *GRID[:-1])).assign(seed=1)])
    short = curves.curve_metrics(both).query("seed == 1").set_index("metric")
    assert math.isnan(short.low["area"]) and math.isnan(short.low["retention"])
    assert tuple(short.loc["alpha_half", ["low", "high"]]) == (1.0, math.inf)  # its own largest α


@settings(deadline=None, max_examples=25)
@given(
    scale=st.floats(0.01, 100),
    half=st.floats(0.05, 1.0),
    steepness=st.floats(1.0, 5.0),
)
def test_scaling_alpha_scales_alpha_half(scale, half, steepness):
    alpha = np.array([0.0, *GRID])
    accuracy = 0.1 + 0.8 / (1 + (alpha / half) ** steepness)
    base = metrics_of(curve_rows(accuracy, alpha))
    scaled = metrics_of(curve_rows(accuracy, scale * alpha))
    for metric in curves.LOG:
        assert scaled[metric] == pytest.approx(tuple(scale * b for b in base[metric]))
    assert scaled["area"] == pytest.approx(base["area"])


def over_seeds(bounds, metric="alpha_half") -> SimpleNamespace:
    """Return the mean of one metric over seeds with these bounds."""
    table = pd.DataFrame(bounds, columns=["low", "high"], dtype=float)
    table = table.assign(metric=metric, seed=range(len(table)))
    return SimpleNamespace(**curves.mean_bounds(table))


def test_censored_values_are_carried_through_means_and_intervals():
    whole = over_seeds([(1, 1), (2, 2), (4, 4)])
    assert (whole.mean_low, whole.mean_high) == pytest.approx((2, 2))  # geometric
    assert whole.low < 2 < whole.high and whole.low * whole.high == pytest.approx(4)
    some = over_seeds([(1, 1), (2, 2), (4, math.inf)])
    assert some.mean_low == pytest.approx(2) and some.mean_high == math.inf
    assert 0 < some.low < whole.low and some.high == math.inf
    assert (some.seeds, some.censored) == (3, 1)
    both = over_seeds([(0, 0.01), (2, 2), (4, math.inf)])
    assert (both.mean_low, both.mean_high, both.low, both.high) == (0, math.inf, 0, math.inf)


def test_seeds_that_agree_or_are_all_censored_show_no_interval():
    equal = over_seeds([(2, math.inf)] * 3)
    assert equal.mean_low == pytest.approx(2)
    assert (equal.mean_high, equal.low, equal.high) == (math.inf, 0, math.inf)
    linear = over_seeds([(0.5, 0.5)] * 3, "area")
    assert (linear.mean_low, linear.low, linear.high) == (0.5, -math.inf, math.inf)
    assert over_seeds([(math.nan, math.nan), (2, 2)]).seeds == 1


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 10])
def test_intervals_with_censored_seeds_still_cover(seeds):
    rng = np.random.default_rng(seeds)
    values = rng.normal(0.5, 0.3, (REPEATS, seeds))  # log α, true mean 0.5
    end = 0.7  # of the sweep: one seed in four does not get there
    lows, highs = np.exp(np.minimum(values, end)), np.exp(np.where(values > end, np.inf, values))
    missed = 0
    for bounds in np.stack([lows, highs], axis=2):
        found = over_seeds(bounds)
        missed += not found.low <= math.exp(0.5) <= found.high
    assert not_above(missed / REPEATS, 0.05)


def test_pairs_of_metrics_are_ratios_or_differences_with_bounds():
    def table(regime, bounds, metric):
        return pd.DataFrame(
            [("mlp", regime, 0, metric, *bounds)],
            columns=[*intervals.RUN, "metric", "low", "high"],
        )

    def compare(clean, noisy, metric):
        both = pd.concat([table("clean", clean, metric), table("noisy", noisy, metric)])
        (row,) = curves.paired_metrics(both).itertuples()
        return row.low, row.high

    assert compare((1.0, 1.0), (1.5, 1.5), "alpha_half") == (1.5, 1.5)
    assert compare((1.6, 1.6), (2.0, math.inf), "alpha_half") == (1.25, math.inf)
    assert compare((2.0, math.inf), (2.0, math.inf), "alpha_half") == (0, math.inf)
    assert compare((0.0, 0.01), (1.0, 1.0), "alpha_half") == (100, math.inf)
    assert compare((0.5, 0.5), (0.75, 0.75), "area") == (0.25, 0.25)


# --- curvature and layers -----------------------------------------------------------------------


def quadratic_rows(draws=400, alphas=(0.1, 0.5), size=6) -> tuple[pd.DataFrame, dict]:
    """Return ±ε rows of L(w) = 2 + gᵀw + ½ wᵀHw at w = 0, and what is known about it."""
    rng = np.random.default_rng(0)
    half = rng.normal(size=(size, size))
    hessian, gradient = half @ half.T, rng.normal(size=size)
    unit = rng.normal(size=(draws, size))
    rows = [("toy", "clean", 0, 0.0, 0, 1, 0, 1, 2.0)]
    for alpha in alphas:
        for k, z in enumerate(unit):
            for sign in (1, -1):
                e = sign * alpha * z
                loss = 2 + gradient @ e + e @ hessian @ e / 2
                rows.append(("toy", "clean", 0, alpha, k, sign, 0, 1, loss))
    columns = [*intervals.RUN, "alpha", "draw", "sign", "correct", "total", "loss"]
    known = {"trace": np.trace(hessian), "linear": unit @ gradient, "H": hessian, "z": unit}
    return pd.DataFrame(rows, columns=columns), known


def test_pairs_split_a_quadratic_loss_into_linear_term_and_curvature():
    rows, known = quadratic_rows()
    terms = curvature.curvature_term(rows).set_index("alpha")
    forms = np.einsum("ki,ij,kj->k", known["z"], known["H"], known["z"])
    for alpha in (0.1, 0.5):
        term = terms.loc[alpha]
        assert term.pairs == 400
        assert term.odd == pytest.approx(alpha * known["linear"].mean())
        assert term.even == pytest.approx(alpha**2 * forms.mean() / 2)
        prediction = alpha**2 * known["trace"] / 2  # second order, s = 1
        assert abs(term.even - prediction) < 1.5 * term.even_half
    assert terms.even[0.5] / terms.even[0.1] == pytest.approx(25)


def test_second_order_prediction_is_exact_in_expectation_on_a_quadratic_loss():
    rows, known = quadratic_rows()
    signs = np.random.default_rng(1).choice([-1.0, 1.0], (16, 6))
    shares = {f"w{i}": list(signs[:, i] * (signs @ known["H"])[:, i]) for i in range(6)}
    total, error = curvature.trace(shares)
    forms = np.einsum("ki,ij,kj->k", signs, known["H"], signs)
    assert total == pytest.approx(forms.mean())
    assert error == pytest.approx(forms.std(ddof=1) / 4)
    assert abs(total - known["trace"]) < 3 * error

    exact = pd.DataFrame([("toy", "clean", 0, known["trace"], 0.0)])
    exact.columns = [*intervals.RUN, "trace", "error"]
    terms = curvature.curvature_term(rows)
    for row in curvature.compare(terms, exact).itertuples():
        assert row.predicted == pytest.approx(row.alpha**2 * known["trace"] / 2)
        half = terms.set_index("alpha").even_half[row.alpha]
        assert abs(row.measured - row.predicted) < 1.5 * half
        assert row.ratio == pytest.approx(row.predicted / row.measured)
        assert (row.seeds, row.pairs) == (1, 400)


def test_trace_with_a_number_that_is_not_finite_is_not_known():
    assert all(math.isnan(x) for x in curvature.trace({"a": [1.0, None], "b": [1.0, 1.0]}))
    assert math.isnan(curvature.trace({"a": [1.0]})[1])


def test_single_draws_without_their_partner_are_no_pairs():
    rows, _ = quadratic_rows(draws=5)
    lone = rows[(rows.sign > 0) | (rows.draw != 3)]
    assert set(curvature.curvature_term(lone).pairs) == {4}
    assert curvature.curvature_term(rows[rows.sign > 0]).empty


def test_a_pair_whose_loss_is_not_finite_leaves_no_term():
    rows, _ = quadratic_rows(draws=5)
    alpha = rows.alpha.max()
    rows.loc[(rows.alpha == alpha) & (rows.draw == 3) & (rows.sign < 0), "loss"] = np.nan
    terms = curvature.curvature_term(rows).set_index("alpha")
    assert terms.loc[alpha, ["even", "odd", "even_half", "odd_half"]].isna().all()
    assert terms.drop(index=alpha)[["even", "odd"]].notna().all(axis=None)


def test_validity_radius_is_the_first_alpha_outside():
    alpha = [0.1, 0.2, 0.5, 1.0]
    assert curvature.validity_radius(alpha, [1, 1, 2.1, 1], [1, 1, 1, 1]) == (0.5, 0.5)
    assert curvature.validity_radius(alpha, [1, 0.49, 1, 1], [1, 1, 1, 1]) == (0.2, 0.2)
    assert curvature.validity_radius(alpha, [0.5, 2, 1, 1], [1, 1, 1, 1]) == (1.0, math.inf)
    assert curvature.validity_radius([1.0, 0.1], [9, 1], [1, 1]) == (1.0, 1.0)  # in any order
    assert curvature.validity_radius([0.1], [1], [-1]) == (0.1, 0.1)
    assert math.isnan(curvature.validity_radius([], [], [])[0])


def test_layers_add_up_where_the_loss_is_separable():
    rows = [("", 0.0, 0, 90, 100, 10.0)]
    rng = np.random.default_rng(0)
    for draw in range(6):
        a, b = rng.uniform(1, 2, 2)
        rows += [("a", 0.5, draw, 80, 100, 10 + a), ("b", 0.5, draw, 85, 100, 10 + b)]
        rows += [("", 0.5, draw, 75, 100, 10 + a + b)]
    columns = ["parameter", "alpha", "draw", "correct", "total", "loss"]
    table, whole = by_layer(pd.DataFrame(rows, columns=columns))
    drops = table.set_index("parameter")["drop"].to_dict()
    assert drops == pytest.approx({"": 0.15, "a": 0.1, "b": 0.05})
    assert (table.draws == 6).all() and (table.loss_half > 0).all()
    assert whole.residual[0] == pytest.approx(0) and whole.draws[0] == 6
    assert whole.layers[0] == pytest.approx(whole.whole[0])
    rows = [r if r[0] else (*r[:-1], r[-1] + (r[1] > 0)) for r in rows]
    _, whole = by_layer(pd.DataFrame(rows, columns=columns))
    assert whole.residual[0] == pytest.approx(-0.01)  # a loss of 1 over 100 images
