"""Words and intervals: Holm's steps, the zeros' share, equivalence, and what both keep together."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis import verdicts
from analysis.intervals import paired_effects
from analysis.verdicts import BETTER, CUT, EQUIVALENT, RESOLVED, TOGETHER, UNRESOLVED, WORSE
from benchmarks import truths
from simulated import not_above, simulate


def table(means, seeds=6, sd=0.01, regimes=("noisy",), alphas=None) -> pd.DataFrame:
    """Return effects of one architecture, (regimes × α), as `judge` takes them."""
    means = np.atleast_2d(means)
    alphas = range(means.shape[1]) if alphas is None else alphas
    rows = [
        ("net", regime, alpha, seeds, mean, sd)
        for regime, row in zip(regimes, means, strict=True)
        for alpha, mean in zip(alphas, row, strict=True)
    ]
    return pd.DataFrame(rows, columns=["architecture", "regime", "alpha", "seeds", "mean", "sd"])


def effect_of(p: float, seeds=6, sd=0.01) -> float:
    """Return the mean that has this two-sided p-value."""
    return float(stats.t.isf(p / 2, seeds - 1)) * sd / np.sqrt(seeds)


def test_steps_are_those_of_holm():
    p = pd.Series([0.04, 0.001, 0.02, np.nan, 0.012, 0.5])
    family, share = pd.Series(["a"] * 6), pd.Series([1.0] * 6)
    found = verdicts.step_down(p, family, share)
    # 0.001 ≤ 0.05/5, 0.012 ≤ 0.05/4, 0.02 > 0.05/3: so 0.04 is not resolved, though below 0.05/1
    assert found.resolved.tolist() == [False, True, False, False, True, False]
    assert found.step[:3].tolist() == [3, 5, 3] and found.step[4] == 4
    assert set(found["size"]) == {5}
    half = verdicts.step_down(p, family, 0.5 * share)
    assert half.resolved.tolist() == [False, True, False, False, False, False]


def test_a_zero_keeps_half_of_the_error_until_it_is_resolved():
    p = 0.04 / 3  # passes 0.05/3, and not 0.025/3
    above = [effect_of(p)] * 3
    open_ = verdicts.judge(table([0.0, *above], sd=0.01))
    resolved = verdicts.judge(table([-0.5, *above], sd=0.01))
    assert open_.verdict.tolist()[1:] == [UNRESOLVED] * 3
    assert resolved.verdict.tolist() == [WORSE, *[BETTER] * 3]
    assert set(open_.comparisons[1:]) == {6} and set(resolved.comparisons[1:]) == {3}
    assert open_.comparisons[0] == resolved.comparisons[0] == 2
    without = verdicts.judge(table(above, alphas=(1, 2, 3)))
    assert without.verdict.tolist() == [BETTER] * 3  # nothing to keep where 0 is not measured


def test_regimes_share_the_error():
    above = effect_of(0.05 / 2.5)
    one = verdicts.judge(table([-0.5, above, above]))
    both = verdicts.judge(table([[-0.5, above, above]] * 2, regimes=("noisy", "sam")))
    assert set(one.comparisons) == {2}
    assert set(both.comparisons) == {4}
    assert one.verdict.tolist()[1:] == [BETTER] * 2
    assert both.verdict.tolist()[1:3] == [UNRESOLVED] * 2
    half = verdicts.judge(table([[-0.5, above], [0.0, above]], regimes=("noisy", "sam")))
    assert half.comparisons[1] == pytest.approx(2 / 0.75)  # one of two zeros keeps its quarter


@given(
    st.lists(st.floats(-0.1, 0.1), min_size=1, max_size=12),
    st.integers(1, 12),
    st.floats(1e-4, 0.1),
)
def test_words_and_printed_intervals_never_contradict(means, seeds, sd):
    found = verdicts.judge(table(means, seeds=seeds, sd=sd))
    for row in found.itertuples():
        if seeds == 1:
            assert row.verdict == UNRESOLVED and np.isnan(row.half)
            continue
        assert row.low <= row.mean <= row.high
        assert (row.low >= 0) == (row.verdict == BETTER) or row.mean == 0
        assert (row.high <= 0) == (row.verdict == WORSE) or row.mean == 0
        inside = row.low >= -verdicts.MARGIN and row.high <= verdicts.MARGIN
        assert inside or row.verdict != EQUIVALENT
        assert not inside or row.verdict != UNRESOLVED
        if row.kind == TOGETHER:
            assert row.high - row.low == pytest.approx(2 * row.half)
        if row.kind == CUT:
            assert row.low in (0, -verdicts.MARGIN) or row.high in (0, verdicts.MARGIN)


def test_better_and_worse_come_before_equivalent():
    words = verdicts.find_word(
        [0.001, -0.002, -0.002, -0.02, np.nan], [0.002, -0.001, 0.003, 0.03, np.nan]
    )
    assert words.tolist() == [BETTER, WORSE, EQUIVALENT, UNRESOLVED, UNRESOLVED]


@pytest.mark.parametrize("seeds", [3, 10])
@pytest.mark.parametrize("effect", [0.01, -0.01])
def test_false_equivalents_are_counted(seeds, effect):
    rows = simulate(seeds, effect=effect, spread=0.002, shared=0.0, draws=1, within=0.0)
    found = paired_effects(rows)
    direction = BETTER if effect > 0 else WORSE
    wrong = found.verdict.isin([EQUIVALENT, BETTER, WORSE]) & (found.verdict != direction)
    assert not_above(wrong.groupby(found.architecture).any().mean(), 0.05)


def test_steps_resolve_more_and_at_least_the_same():
    found = paired_effects(simulate(6, effect=0.008, repeats=300, draws=1))
    above = found[found.alpha > 0]
    plain = verdicts.find_word(above.effect - above.half, above.effect + above.half)
    resolved = above.verdict.isin(RESOLVED)
    assert (resolved | ~np.isin(plain, RESOLVED)).all()
    assert resolved.mean() > np.isin(plain, RESOLVED).mean() + 0.02


@pytest.mark.parametrize("seeds", [3, 6, 10])
def test_draws_with_two_peaks_give_no_wrong_verdicts(seeds):
    alphas, accuracy, truth = truths.two_peaks(np.random.default_rng(seeds), 300, seeds)
    assert (truth[1:] < -0.01).all()
    found = paired_effects(truths.make_rows(alphas, accuracy))
    wrong = (found.alpha > 0) & (found.verdict == BETTER)
    assert not_above(wrong.groupby(found.architecture).any().mean(), 0.02, 300)
    true = found.alpha.map(dict(zip(alphas, truth, strict=True)))
    inside = ((found.low <= true) & (true <= found.high))[found.alpha > 0]
    assert not_above(1 - inside.groupby(found.architecture).all().mean(), 0.06, 300)
