"""One number per curve against known truth, censored where the sweep does not reach."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import curves, intervals
from simulated import REPEATS, make_rows, not_above

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
    assert 0.01 < metrics["alpha_point"][0] < 0.02  # the drop is no power of α here
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


def test_a_missing_start_gives_no_metric_but_the_area():
    no_start = curves.curve_metrics(curve_rows([0.9] * 8, GRID)).set_index("metric")
    assert no_start.low.notna().to_dict() == {m: m == "area" for m in curves.METRICS}


def test_a_run_that_has_come_to_its_start_alone_has_no_metric():
    """As one has whose worker was killed after α = 0."""
    killed = curve_rows([0.95], (0.0,)).assign(seed=1)
    found = curves.curve_metrics(pd.concat([curve_rows([0.9] * 9), killed]))
    low = found.set_index(["seed", "metric"]).low
    assert low[0, "retention"] == 1
    assert math.isnan(low[1, "retention"]) and math.isnan(low[1, "area"])


def test_ranges_are_those_that_all_runs_have_and_crossings_use_every_strength():
    slope = 0.8 / math.log(200)
    accuracy = np.array([0.9, *(0.9 - slope * np.log(GRID / 0.01))])
    long, short = curve_rows(accuracy), curve_rows(accuracy[:-1], (0, *GRID[:-1])).assign(seed=1)
    fine = np.append(GRID[:-1], 0.15)  # a strength of its own
    other = curve_rows(np.interp(fine, GRID, accuracy[1:]), fine).assign(seed=2)
    found = curves.curve_metrics(pd.concat([long, short, other, short.assign(architecture=1)]))
    found = found.set_index(["architecture", "seed", "metric"])
    assert found.low[0, 0, "area"] == pytest.approx(found.low[0, 1, "area"])
    assert found.low[0, 0, "retention"] == pytest.approx(accuracy[-2] / 0.9)
    assert found.low[0, 0, "area"] == pytest.approx((0.9 + accuracy[-2]) / 2)
    half = 0.01 * math.exp(0.4 / slope)
    assert found.low[0, 0, "alpha_half"] == found.high[0, 0, "alpha_half"] == pytest.approx(half)
    half_of_short = found.loc[(1, 1, "alpha_half"), ["low", "high"]]
    assert tuple(half_of_short) == pytest.approx((half, half))
    steep = curves.curve_metrics(curve_rows([0.9, 0.9, 0.9], (0, 0.5, 1.0))).set_index("metric")
    assert tuple(steep.loc["alpha_half", ["low", "high"]]) == (1.0, math.inf)  # its own largest α


def test_one_point_is_found_where_the_drop_is_a_power_of_alpha():
    alpha = np.array([0.0, 0.1, 0.2, 0.5, 1.0])
    for power in (1.5, 2.0, 3.0):
        rows = curve_rows(0.95 - 0.2 * alpha**power, alpha)
        expected = (0.01 / 0.2) ** (1 / power)
        assert metrics_of(rows)["alpha_point"] == pytest.approx((expected,) * 2, rel=1e-6)


def test_no_drop_at_all_before_the_crossing_still_gives_a_number_between():
    rows = curve_rows([0.9, 0.9, 0.91, 0.8], (0.0, 0.1, 0.2, 0.5))
    low, high = metrics_of(rows)["alpha_point"]
    assert 0.2 < low == high < 0.5


def test_chance_is_that_of_the_run():
    accuracy = [0.9, *np.linspace(0.9, 0.4, 8)]
    rows = curve_rows(accuracy)
    ten, two = metrics_of(rows), metrics_of(rows.assign(chance=0.5))
    assert ten == metrics_of(rows.assign(chance=0.1)) == metrics_of(rows.assign(chance=np.nan))
    assert two["alpha_half"][0] < ten["alpha_half"][0]  # halfway is 0.7, not 0.5


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
