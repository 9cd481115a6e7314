"""Intervals, paired effects and curvature against known truth."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from analysis import curvature, curves, endpoints, intervals, shape, verdicts
from analysis.by_layer import by_layer
from simulated import ALPHAS, REPEATS, TOTAL, make_rows, not_above, simulate, within_error

# --- coverage -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seeds", [3, 10])
def test_intervals_cover_95_percent(seeds):
    table = intervals.mean_accuracy(simulate(seeds, effect=0.01, draws=1))
    truth = table.alpha.map(dict(zip(ALPHAS, (0.95, 0.94, 0.9, 0.7, 0.4), strict=True)))
    truth += 0.01 * (table.regime == "noisy")
    covered = (table.low <= truth) & (truth <= table.high)
    for _, cell in covered.groupby([table.regime, table.alpha]):
        assert len(cell) == REPEATS
        assert within_error(cell.mean(), 0.95)


@pytest.mark.parametrize("seeds", [3, 10])
def test_simultaneous_intervals_cover_together_and_are_not_wasteful(seeds):
    table = intervals.paired_effects(simulate(seeds, effect=0.01, draws=1))
    table = table.assign(covered=(table.low <= 0.01) & (table.high >= 0.01))
    zero = table[table.alpha == 0]
    assert within_error(zero.covered.mean(), 0.975)  # one of two endpoints
    open_ = zero[~zero.verdict.isin(verdicts.RESOLVED)].architecture
    for share, chosen in ((0.5, True), (1.0, False)):  # a zero hands its half on if resolved
        mine = table[(table.alpha > 0) & (table.architecture.isin(open_) == chosen)]
        if mine.architecture.nunique() < 200:
            continue
        # independent seeds at every α: Bonferroni is then nearly exact
        family = mine.groupby("architecture").covered.all().mean()
        expected = (1 - 0.05 * share / 4) ** 4
        assert not_above(1 - family, 1 - expected, mine.architecture.nunique())
        assert family < 0.99


@pytest.mark.parametrize("draws", [1, 3])
@pytest.mark.parametrize("seeds", [3, 10])
@pytest.mark.parametrize("shared", [0.0, 0.5, 1 - 1e-9])
def test_false_words_of_a_family_are_at_most_5_percent(seeds, shared, draws):
    table = intervals.paired_effects(simulate(seeds, effect=0.0, shared=shared, draws=draws))
    wrong = table.verdict.isin(verdicts.RESOLVED)
    assert not_above(wrong.groupby(table.architecture).any().mean(), 0.05)


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
@pytest.mark.parametrize("spread", [0.1, 0.3, 0.6, 1.0, 3.0])  # in images
def test_counts_that_hardly_vary_give_no_false_verdicts(seeds, spread):
    rng = np.random.default_rng(0)
    alphas = tuple(0.01 * k for k in range(12))
    level = 0.5 + rng.uniform(size=(REPEATS, 1, 1, 12, 1)) / TOTAL  # between two counts
    noise = rng.normal(size=(REPEATS, 2, seeds, 12, 1)) * spread / TOTAL
    table = intervals.paired_effects(make_rows(level + noise, alphas))
    wrong = table.verdict.isin(verdicts.RESOLVED)
    assert not_above(wrong.groupby(table.architecture).any().mean(), 0.05)


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
    assert verdicts.t_factor(3) == pytest.approx(4.302653)
    assert verdicts.t_factor(3, 11) == pytest.approx(scipy_stats.t.ppf(1 - 0.025 / 11, 2))
    assert math.isnan(verdicts.t_factor(1))
    effects = intervals.paired_effects(simulate(3, repeats=1))
    assert set(effects[effects.alpha > 0].strengths) == {4}
    assert set(effects[effects.alpha == 0].comparisons) == {2}  # cost and tolerance


def test_verdicts_come_from_the_interval():
    better = one([[0.9, 0.50], [0.9, 0.51], [0.9, 0.52]], [[0.9, 0.60], [0.9, 0.611], [0.9, 0.62]])
    effect = intervals.paired_effects(better).set_index("alpha").loc[1.0]
    assert effect.verdict == verdicts.BETTER
    assert effect.low > 0
    assert effect.effect == pytest.approx(0.101 - 0.002 / 3)
    flipped = better.assign(regime=better.regime.map({"clean": "noisy", "noisy": "clean"}))
    assert intervals.paired_effects(flipped).set_index("alpha").verdict[1.0] == verdicts.WORSE


def test_zero_variance_over_seeds_takes_one_image():
    rows = one([[0.9, 0.5]] * 3, [[0.9, 0.5005]] * 3)
    assert intervals.paired_effects(rows).verdict.tolist() == [
        verdicts.EQUIVALENT,
        verdicts.BETTER,
    ]
    effect = intervals.paired_effects(rows).set_index("alpha").loc[1.0]
    assert effect.sd == 1 / TOTAL
    assert effect.half == pytest.approx(6.205347 / TOTAL / math.sqrt(3))  # half of the error
    one_image = one([[0.9, 0.5]] * 3, [[0.9, 0.5001]] * 3)
    assert intervals.paired_effects(one_image).verdict.tolist() == [verdicts.EQUIVALENT] * 2


def test_seeds_that_agree_where_their_draws_do_not_take_the_spread_of_these():
    draws = np.array([-0.1, 0.0, 0.1])
    clean = np.full((3, 2, 3), 0.5)
    apart = 0.5 + np.stack([draws] * 3)[:, None] * np.array([0, 1])[:, None]
    rows = make_rows(np.stack([clean, apart])[None], (0.0, 1.0))
    effect = intervals.paired_effects(rows).set_index("alpha").loc[1.0]
    assert effect.sd == effect.within == pytest.approx(0.1 / math.sqrt(3))
    same = make_rows(np.stack([apart, apart])[None], (0.0, 1.0))  # in pairs no spread at all
    both = intervals.paired_effects(same).set_index("alpha").loc[1.0]
    assert both.sd == pytest.approx(0.1 / math.sqrt(3) * math.sqrt(2))
    mean = intervals.mean_accuracy(rows).set_index(["regime", "alpha"])
    assert mean.sd["noisy", 1.0] == pytest.approx(0.1 / math.sqrt(3))


def test_strengths_that_a_paired_seed_lacks_do_not_count():
    rows = simulate(3, repeats=1)
    extra = rows[(rows.alpha == 1) & (rows.seed == 0)].assign(alpha=1.2)
    with_extra = pd.concat([rows, extra])
    pd.testing.assert_frame_equal(
        intervals.paired_effects(with_extra), intervals.paired_effects(rows)
    )
    everywhere = pd.concat([rows, rows[rows.alpha == 1].assign(alpha=1.2)])
    assert set(intervals.paired_effects(everywhere).strengths) == {5}


def test_one_seed_has_no_interval_and_no_verdict():
    (_, effect) = intervals.paired_effects(one([[0.9, 0.5]], [[0.9, 0.8]])).itertuples()
    assert math.isnan(effect.half) and effect.verdict == verdicts.UNRESOLVED


def test_a_lower_start_is_not_mistaken_for_robustness():
    start = [[0.90, 0.50], [0.91, 0.51], [0.89, 0.48]]
    lower = [[0.80, 0.50], [0.81, 0.51], [0.79, 0.48]]
    rows = one(start, lower)
    accuracy, drop, retention = (
        intervals.paired_effects(rows, quantity).set_index("alpha").loc[1.0]
        for quantity in ("accuracy", "drop", "retention")
    )
    assert accuracy.verdict == verdicts.EQUIVALENT and accuracy.effect == 0
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
    endpoints.endpoints,
    shape.find_flags,
]


@settings(deadline=None, max_examples=15)
@given(order=st.randoms(use_true_random=False), function=st.sampled_from(FUNCTIONS))
def test_order_of_rows_changes_nothing(order, function):
    rows = simulate(3, repeats=2)
    shuffled = list(range(len(rows)))
    order.shuffle(shuffled)
    pd.testing.assert_frame_equal(function(rows.iloc[shuffled]), function(rows), check_exact=True)


def test_half_width_serves_a_stopping_rule():
    values = [0.5, 0.52, 0.48, 0.5]
    expected = scipy_stats.t.ppf(0.975, 3) * np.std(values, ddof=1) / 2
    assert intervals.half_width(values) == pytest.approx(expected)
    assert math.isnan(intervals.half_width([0.5]))
    assert intervals.half_width([0.5] * 10, floor=1e-4) == pytest.approx(2.262157 * 1e-4 / 10**0.5)


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


def terms_of(rows: pd.DataFrame) -> pd.DataFrame:
    return curvature.curvature_term(curvature.pair_terms(rows))


def test_pairs_split_a_quadratic_loss_into_linear_term_and_curvature():
    rows, known = quadratic_rows()
    terms = terms_of(rows).set_index("alpha")
    forms = np.einsum("ki,ij,kj->k", known["z"], known["H"], known["z"])
    for alpha in (0.1, 0.5):
        term = terms.loc[alpha]
        assert term.pairs == 400
        assert term.odd == pytest.approx(alpha * known["linear"].mean())
        assert term.even == pytest.approx(alpha**2 * forms.mean() / 2)
        prediction = alpha**2 * known["trace"] / 2  # second order, s = 1
        assert abs(term.even - prediction) < 1.5 * term.even_half
    assert terms.even[0.5] / terms.even[0.1] == pytest.approx(25)


def test_single_draws_without_their_partner_are_no_pairs():
    rows, _ = quadratic_rows(draws=5)
    lone = rows[(rows.sign > 0) | (rows.draw != 3)]
    assert set(terms_of(lone).pairs) == {4}
    assert terms_of(rows[rows.sign > 0]).empty


def test_a_pair_whose_loss_is_not_finite_leaves_no_term():
    rows, _ = quadratic_rows(draws=5)
    alpha = rows.alpha.max()
    rows.loc[(rows.alpha == alpha) & (rows.draw == 3) & (rows.sign < 0), "loss"] = np.nan
    terms = terms_of(rows).set_index("alpha")
    assert terms.loc[alpha, ["even", "odd", "even_half", "odd_half"]].isna().all()
    assert terms.drop(index=alpha)[["even", "odd"]].notna().all(axis=None)


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
