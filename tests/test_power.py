"""What it would take: seeds, draws, core-hours; against simulation and the non-central t."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis import power
from analysis.endpoints import endpoints
from analysis.intervals import paired_effects
from analysis.verdicts import UNRESOLVED, t_factor
from simulated import simulate, within_error


def test_planned_number_of_seeds_has_the_stated_power():
    sd, effect = 0.008, 0.01
    needed = int(power.seeds_needed([sd], [4], effect)[0])
    rates = []
    for seeds in (needed - 1, needed):
        difference = np.random.default_rng(seeds).normal(effect, sd, (20_000, seeds))
        error = difference.std(1, ddof=1) / math.sqrt(seeds)
        rates.append((difference.mean(1) > t_factor(seeds, 4) * error).mean())
    assert rates[0] < 0.8 + 0.01 and rates[1] > 0.8 - 0.01
    assert rates[0] < rates[1]


@pytest.mark.parametrize("n", [2, 3, 6, 50, 200])
@pytest.mark.parametrize("comparisons", [1, 11, 22])
@pytest.mark.parametrize("shift", [0.0, 0.5, 3.0, 30.0, 36.9, 37.1, 1e3, 1e9])
def test_power_is_that_of_the_noncentral_t_and_never_unknown(n, comparisons, shift):
    found = float(power.power(n, 1.0, comparisons, shift / math.sqrt(n)))
    middles = (np.arange(20_000) + 0.5) / 20_000
    ratio = np.sqrt(stats.chi2.ppf(middles, n - 1) / (n - 1))  # estimated / true sd
    expected = stats.norm.sf(t_factor(n, comparisons) * ratio - shift).mean()
    assert found == pytest.approx(expected, abs=2e-3)


def test_seeds_needed_grow_with_spread_are_capped_and_carry_unknowns():
    sds = [0.0, 1e-12, 0.001, 0.01, 0.02, 0.2, np.nan]
    needed = power.seeds_needed(sds, [11] * 7, 0.01)
    assert list(needed[:5]) == sorted(needed[:5]) and needed[0] == needed[1] == 2
    assert needed[5] == np.inf and math.isnan(needed[6])
    assert needed[4] < power.MOST


def test_upper_bound_of_the_spread_is_above_it_as_often_as_it_says():
    values = np.random.default_rng(0).normal(0, 2.0, (4000, 6))
    upper = power.upper_sd(values.std(1, ddof=1), np.full(4000, 6))
    assert within_error((upper >= 2).mean(), power.SURE, 4000)
    assert math.isnan(power.upper_sd(1.0, 1))


def test_planning_with_the_upper_bound_has_the_power_and_with_the_estimate_has_not():
    rng = np.random.default_rng(0)
    estimated = rng.normal(0, 0.01, (300, 6)).std(axis=1, ddof=1)
    upper = power.upper_sd(estimated, np.full(300, 6))
    means = []
    for sd in (estimated, upper):
        needed = np.minimum(power.seeds_needed(sd, np.full(300, 1.0), 0.01), power.MOST)
        means.append(power.power(needed, 0.01, 1.0, 0.01).mean())
    assert means[0] < 0.76 and means[1] > 0.8


def comparison(**changes) -> pd.DataFrame:
    """Return one unresolved comparison, in points."""
    row = {
        **{"architecture": "net", "regime": "noisy", "what": "α = 1", "unit": "points"},
        **{"seeds": 6, "draws": 5, "comparisons": 11.0, "sd": 1.4, "within": 1.4},
    }
    return pd.DataFrame([row | changes])


def take(seconds=(100.0, 1.0), **changes) -> pd.Series:
    times = {("net", "noisy"): seconds} if seconds else None
    return power.what_it_takes(comparison(**changes), times).iloc[0]


def test_draws_are_bought_where_they_are_the_spread_and_cheap():
    draws, seeds = take(within=1.4), take(within=0.1)
    assert draws.best_draws > 5 and draws.best_seeds < draws.needed_seeds
    assert seeds.best_draws == 5 and seeds.best_seeds == seeds.needed_seeds
    assert draws.half_draws < draws.half_seeds < draws.half
    assert seeds.half_seeds < seeds.half_draws <= seeds.half
    dear = take(seconds=(100.0, 1e5), within=1.4)
    assert dear.best_draws == 5 and dear.hour_draws == 0 and dear.half_draws == dear.half


def test_a_core_hour_buys_what_its_price_says():
    found = take(seconds=(600.0, 30.0))
    assert (found.hour_seeds, found.hour_draws) == (6, 20)
    assert found.half == pytest.approx(float(t_factor(6, 11)) * 1.4 / math.sqrt(6))
    assert found.half_seeds == pytest.approx(float(t_factor(12, 11)) * 1.4 / math.sqrt(12))
    assert found.half_draws == pytest.approx(found.half * math.sqrt(5 / 25))
    seeds, draws = found.best_seeds, found.best_draws
    assert found.best_hours * 3600 == pytest.approx((seeds - 6) * 600 + seeds * (draws - 5) * 30)


def test_without_times_only_seeds_are_said():
    found = take(seconds=None)
    assert found.needed_seeds > 6
    assert found[["best_seeds", "hour_seeds", "half_seeds", "half_draws"]].isna().all()


def test_every_unresolved_comparison_is_named_with_its_unit():
    rows = simulate(3, repeats=3, spread=0.02)
    effects = paired_effects(rows)
    table = power.open_comparisons(effects, endpoints(rows, effects=effects))
    above = effects[(effects.alpha > 0) & (effects.verdict == UNRESOLVED)]
    assert (table.what.str.startswith("α = ")).sum() == len(above) > 0
    first = above.iloc[0]
    mine = table[table.architecture == first.architecture].set_index("what")
    assert mine.sd[f"α = {first.alpha:g}"] == pytest.approx(100 * first.sd)
    assert set(table.unit) <= {"points", "ratio"} and (table.within <= table.sd + 1e-12).all()
