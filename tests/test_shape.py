"""What is flagged as not normal, and what is not."""

import numpy as np
import pandas as pd
import pytest

from analysis import shape
from analysis.endpoints import COST, TOLERANCE, endpoints
from analysis.shape import APART, COLLAPSED, PEAKS, SKEWED
from benchmarks import truths
from reporting.endpoints import say_endpoints
from simulated import make_rows


def flags_of(accuracy: np.ndarray, alphas=(0.0, 1.0)) -> set[tuple]:
    """Return (regime, α, flag) of one experiment, (regimes, seeds, α, draws)."""
    found = shape.find_flags(make_rows(accuracy[None], alphas))
    return set(found[["regime", "alpha", "flag"]].itertuples(index=False, name=None))


def normal(seeds=6, draws=5, spread=0.02) -> np.ndarray:
    return 0.8 + spread * np.random.default_rng(1).normal(size=(2, seeds, 2, draws))


@pytest.mark.parametrize("seeds", [3, 6, 10])
def test_normal_data_are_seldom_flagged(seeds):
    alphas, accuracy, _ = truths.normal(np.random.default_rng(0), 40, seeds, 0.0)
    accuracy = 0.8 + 5 * (accuracy - 0.8)  # spreads of some points, beyond what is let pass
    found = shape.find_flags(truths.make_rows(alphas, accuracy))
    assert found.architecture.nunique() <= 12


def test_two_peaks_are_flagged():
    accuracy = normal()
    accuracy[1, :, 1, ::2] -= 0.5
    assert ("noisy", 1.0, PEAKS) in flags_of(accuracy)
    assert all(flag[:2] == ("noisy", 1.0) for flag in flags_of(accuracy))


def test_skewed_draws_are_flagged_and_small_spreads_are_not():
    accuracy = normal(spread=0.002)
    assert not flags_of(accuracy)
    accuracy[0, 2, 1, 3] -= 0.05
    assert flags_of(accuracy) == {("clean", 1.0, SKEWED)}
    assert not flags_of(accuracy[:, :2])  # ten draws: too few to tell


def test_a_seed_far_from_the_others_is_flagged():
    accuracy = normal(spread=0.002)
    accuracy[1, 4, 1] -= 0.2
    assert ("noisy", 1.0, APART) in flags_of(accuracy)


def test_a_regime_of_which_every_seed_has_collapsed_is_flagged():
    accuracy = normal(spread=0.001)
    accuracy[1] = 0.1
    assert ("noisy", 1.0, COLLAPSED) in flags_of(accuracy)
    assert not any(regime == "clean" for regime, *_ in flags_of(accuracy))


@pytest.mark.parametrize("seeds", [2, 3, 6])
def test_a_collapsed_seed_is_flagged_at_every_strength(seeds):
    accuracy = normal(seeds=seeds, spread=0.002)
    accuracy[1, 0] = 0.1
    assert {("noisy", 0.0, COLLAPSED), ("noisy", 1.0, COLLAPSED)} <= flags_of(accuracy)
    both = make_rows(accuracy[None], (0.0, 1.0))
    fine = shape.find_flags(both.assign(chance=-1.0))  # far above "chance"
    assert COLLAPSED not in set(fine.flag)


def test_flags_of_a_pair_are_those_of_either_run():
    effects = pd.DataFrame({"architecture": "a", "regime": "noisy", "alpha": [0.0, 1.0, 2.0]})
    flags = [("a", "clean", 1.0, SKEWED), ("a", "noisy", 1.0, PEAKS), ("a", "noisy", 1.0, SKEWED)]
    flags = pd.DataFrame([*flags, ("b", "noisy", 2.0, SKEWED)], columns=shape.FLAGS)
    words = shape.flags_of_pairs(effects, flags).tolist()
    assert words == ["", f"{SKEWED}; {PEAKS}", ""]


def test_seeds_without_a_collapse_leave_room_for_one():
    assert shape.most_collapses(3) == pytest.approx(0.632, abs=1e-3)
    assert (1 - shape.most_collapses(6)) ** 6 == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("alpha", "marked"), [(0.2, set()), (1.4, {TOLERANCE}), (3.0, set()), (None, {COST, TOLERANCE})]
)
def test_endpoints_are_flagged_where_their_own_data_are(alpha, marked):
    alphas = np.array([0, 0.1, 0.2, 0.5, 1.0, 1.4, 2.0, 3.0])
    curve = 0.1 + 0.8 / (1 + (alphas / 1.2) ** 4)  # halfway at 1.2, between 1.0 and 1.4
    rng = np.random.default_rng(2)
    accuracy = curve[:, None] + 0.002 * rng.normal(size=(2, 6, len(alphas), 5))
    if alpha is None:
        accuracy[1, 3] = 0.1  # a collapsed seed
    else:
        accuracy[1, 2, alphas.tolist().index(alpha), 3] -= 0.05
    rows = make_rows(accuracy[None], alphas)
    flags, ends = shape.find_flags(rows), endpoints(rows)
    ends["flags"] = shape.flags_of_endpoints(ends, rows, flags)
    assert len(flags) and {*ends.endpoint[ends["flags"] != ""]} == marked
    (line,) = say_endpoints(ends, ends.architecture.iloc[0])
    assert line.count(" †)") + line.count(" †;") == len(marked)
