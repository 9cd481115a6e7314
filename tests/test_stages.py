"""stages.py, of analysis and of store: how many draws it takes, found once, kept in the plan."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import stages
from analysis.needs import is_complete, needs
from config import LEAST_DRAWS, Sweep
from fakes import make_plan
from simulated import within_error
from store import merge, records
from store.plan_file import as_data, ask, forget, from_data, load_plan
from store.stages import MOST_DRAWS, Stage, draws_at, united_stages, with_stages

ALPHAS = (0.0, 0.1, 1.0, 2.0)
TOTAL = 10_000
WIDE = {0.1: 0.0002, 1.0: 0.01, 2.0: 0.05}  # spread over draws; over seeds it is 0.005


def row_of(run, point) -> list:
    """Return the row of a point: the same whenever it is measured."""
    alpha, draw, sign = point
    own = np.random.default_rng([run.seed]).normal()
    noise = np.random.default_rng([run.seed, draw, int(10 * alpha), sign + 1]).normal()
    accuracy = 0.9 - 0.1 * alpha + 0.005 * own + WIDE.get(alpha, 0.0) * noise
    return [alpha, draw, sign, round(TOTAL * accuracy), TOTAL, 1.0]


def grown(run, sweep, record=None, most=None):
    """Return the record of a run with all, or the next `most`, that a sweep asks for."""
    record = record or records.new(run, "weights", [0.1], {})
    done = 0
    while blocks := needs(record, sweep):
        for point in blocks[0].points:
            if most is not None and done >= most:
                return record
            record, done = records.add(record, blocks[0].settings, [row_of(run, point)]), done + 1
    return record


def first_stage(plan) -> dict:
    return {run: grown(run, replace(plan, stages=()).sweep_of(run)) for run in plan.runs}


PLAN = make_plan(("mlp",), seeds=(0, 1, 2), alphas=ALPHAS, draws=None)
RECORDS = first_stage(PLAN)


def find(plan=PLAN, there=RECORDS):
    return stages.find_stages(plan, there.get)


# ---- When and what -----------------------------------------------------------------------------


def test_by_default_there_are_two_stages_and_with_draws_one():
    assert Sweep().two_stage and Sweep().first_draws == LEAST_DRAWS == 10
    assert not Sweep(draws=7).staged and Sweep(draws=7).first_draws == 7
    precise = Sweep(precision=0.01)
    assert precise.staged and not precise.two_stage and precise.first_draws == LEAST_DRAWS
    assert Sweep(draws=20, two_stage=True).first_draws == 20


def test_the_second_stage_draws_on_where_draws_spread():
    (stage,) = find()
    found = dict(stage.draws)
    assert stage.architecture == "mlp" and stage.precision == 0 and [*found] == [0.1, 1.0, 2.0]
    assert found[0.1] == LEAST_DRAWS < found[1.0] <= found[2.0] == MOST_DRAWS
    assert find(replace(PLAN, stages=(stage,))) == []


@pytest.mark.parametrize("gone", PLAN.runs[:2])
def test_it_waits_for_every_run_of_the_architecture(gone):
    part = {run: record for run, record in RECORDS.items() if run != gone}
    assert find(there=part) == []
    part[gone] = grown(gone, PLAN.sweep, most=12)
    assert find(there=part) == [] and stages.find_open(PLAN) == ["mlp"]
    other = PLAN.joined(make_plan(("cnn",), alphas=ALPHAS, draws=None))
    assert find(other) == find(), "another architecture's runs are not waited for"
    assert stages.find_open(other) == ["cnn", "mlp"]


def test_draws_that_are_asked_for_by_number_have_no_second_stage():
    plan = make_plan(("mlp",), alphas=ALPHAS, draws=10)
    assert find(plan) == [] and stages.find_open(plan) == []
    assert all(is_complete(RECORDS[run], plan.sweep_of(run)) for run in plan.runs)


def test_a_single_seed_has_no_more_for_there_is_no_interval_over_seeds():
    plan = make_plan(("mlp",), seeds=(0,), alphas=ALPHAS, draws=None)
    assert find(plan) == [] and stages.find_open(plan) == []
    precise = make_plan(("mlp",), seeds=(0,), alphas=ALPHAS, draws=None, precision=0.01)
    assert len(find(precise, first_stage(precise))) == 1, "its draws say how precise they are"


def test_seeds_that_follow_a_single_one_have_their_second_stage():
    """Also where single seeds come together by a merge."""
    one, two = (make_plan(("mlp",), seeds=(s,), alphas=ALPHAS, draws=None) for s in (0, 1))
    settled = [replace(plan, stages=tuple(find(plan))) for plan in (one, two)]
    for later in (PLAN.joined(settled[0]), settled[0].joined(settled[1])):
        assert stages.find_open(later) == ["mlp"]
        (stage,) = find(later)
        assert dict(stage.draws)[2.0] == MOST_DRAWS


@given(st.integers(0, 200), st.integers(0, 60))
def test_later_rows_change_no_number_and_kills_no_record(extra, most):
    """Depending on rows of the first stage alone, shards and merges agree."""
    (stage,) = find()
    plan = replace(PLAN, stages=(stage,))
    run = PLAN.runs[extra % len(PLAN.runs)]
    whole = grown(run, plan.sweep_of(run))
    part = grown(run, plan.sweep_of(run), grown(run, plan.sweep_of(run), RECORDS[run], most))
    assert part == whole and is_complete(whole, plan.sweep_of(run))
    assert find(there=RECORDS | {run: grown(run, plan.sweep_of(run), RECORDS[run], extra)}) == [
        stage
    ]


def test_both_regimes_have_the_same_draws():
    plan = replace(PLAN, stages=tuple(find()))
    counts = {
        run: [
            len([r for r in records.rows(record, PLAN.sweep.settings) if r[0] == a]) for a in WIDE
        ]
        for run, record in (
            (run, grown(run, plan.sweep_of(run), RECORDS[run])) for run in plan.runs
        )
    }
    assert {*map(tuple, counts.values())} == {tuple(n for _, n in plan.stages[0].draws)}


# ---- How many ----------------------------------------------------------------------------------


def values_of(rng, seeds, between, within, draws=LEAST_DRAWS) -> dict:
    return {
        regime: between * rng.normal(size=(seeds, 1)) + within * rng.normal(size=(seeds, draws))
        for regime in ("clean", "noisy")
    }


def test_draws_leave_a_small_part_of_what_seeds_do():
    """With many seeds, where the first stage knows both spreads."""
    for within in (0.005, 0.01, 0.02):
        found = stages.draws_beside_seeds(values_of(np.random.default_rng(0), 400, 0.01, within))
        expected = within**2 / (stages.SHARE * (0.01**2 + within**2 / LEAST_DRAWS))
        assert found == pytest.approx(expected, rel=0.15, abs=1)


def test_a_spread_that_is_small_beside_a_point_asks_for_nothing():
    values = values_of(np.random.default_rng(0), 3, 0.0, 0.0012)
    assert stages.draws_beside_seeds(values) <= LEAST_DRAWS
    assert stages.draws_beside_seeds(values_of(np.random.default_rng(0), 3, 0.0, 0.01)) > 30


@pytest.mark.parametrize("seeds", [1, 3])
def test_two_stages_cover_what_they_say(seeds):
    """Each model's mean is known to ± precision in 95%, whatever number was found."""
    rng, repeats, inside, precision = np.random.default_rng(seeds), 1500, [], 0.006
    for _ in range(repeats):
        values = {"clean": 0.01 * rng.normal(size=(seeds, LEAST_DRAWS))}
        n = max(LEAST_DRAWS, stages.draws_for_precision(values, precision, 1e-9))
        more = 0.01 * rng.normal(size=n - LEAST_DRAWS)
        inside.append(abs(np.append(values["clean"][0], more).mean()) <= precision)
    rate = np.mean(inside)
    assert rate >= 0.95 or within_error(rate, 0.95, repeats)


def test_the_wider_regime_says_the_precision_of_both():
    rng = np.random.default_rng(0)
    wide, tight = 0.02 * rng.normal(size=(3, 10)), 0.001 * rng.normal(size=(3, 10))
    alone = stages.draws_for_precision({"clean": wide}, 0.005, 1e-9)
    assert stages.draws_for_precision({"clean": wide, "noisy": tight}, 0.005, 1e-9) == alone > 40


def test_equal_counts_are_no_proof_of_precision():
    """One image of spread is assumed, so ten equal counts of 1,000 images are not ± 0.0005."""
    values = {"clean": np.full((1, 10), 0.9)}
    assert stages.draws_for_precision(values, 0.0005, 0.001) > 10
    assert stages.draws_for_precision(values, 0.0008, 0.001) <= 10


def test_pairs_are_the_units_of_antithetic_precision():
    """Where the two of a pair cancel, their mean is known at once."""
    rows = [
        [1.0, k, sign, 900 + sign * 40 * (k % 3), 1000, 1.0] for k in range(10) for sign in (1, -1)
    ]
    pairs, plus = stages.units_of(rows, 10, (1, -1)), stages.units_of(rows, 10, (1,))
    assert np.ptp(pairs[1.0][0]) == 0 < np.ptp(plus[1.0][0])
    assert stages.units_of(rows[:-1], 10, (1, -1)) == {}


# ---- In the plan -------------------------------------------------------------------------------

STAGE = Stage("mlp", (("noise_seed", 0), ("test_size", 0)), 0.0, ((0.1, 10), (1.0, 16), (2.0, 30)))


@pytest.mark.parametrize(
    ("strength", "number"),
    [(0.05, 10), (0.1, 10), (0.5, 16), (1.0, 16), (1.4, 30), (2.0, 30), (3, 30)],
)
def test_a_strength_that_not_all_have_takes_the_larger_neighbour(strength, number):
    assert draws_at([STAGE], strength, 10) == number
    assert draws_at([], strength, 10) == 10 and draws_at([STAGE], strength, 40) == 40


def test_a_plan_keeps_its_numbers_whatever_else_is_asked_for(tmp_path):
    plan = replace(PLAN, stages=(STAGE,))
    assert from_data(json.loads(json.dumps(as_data(plan)))) == plan
    ask(tmp_path, PLAN)
    ask(tmp_path, plan)
    ask(tmp_path, make_plan(("mlp",), seeds=(7,), alphas=ALPHAS, draws=None))
    forget(tmp_path, make_plan(("mlp",), seeds=(0,)))
    assert load_plan(tmp_path).stages == (STAGE,)
    assert {run.seed for run in load_plan(tmp_path).runs} == {1, 2, 7}


def test_of_two_plans_the_larger_numbers_count_in_any_order(tmp_path):
    less = replace(STAGE, draws=((0.1, 12), (1.0, 11)))
    cnn = replace(STAGE, architecture="cnn")
    for order in itertools.permutations([(STAGE,), (less,), (cnn,)]):
        united = ()
        for found in order:
            united = united_stages(united, found)
        assert united == (cnn, replace(STAGE, draws=((0.1, 12), (1.0, 16), (2.0, 30))))
    for name, found in (("a", STAGE), ("b", less)):
        (tmp_path / name / "runs").mkdir(parents=True)
        ask(tmp_path / name, replace(PLAN, stages=(found,)))
    merge.merge_results(tmp_path / "a", [tmp_path / "b"])
    assert dict(load_plan(tmp_path / "a").stages[0].draws) == {0.1: 12, 1.0: 16, 2.0: 30}


@pytest.mark.parametrize(
    "change",
    [
        {"precision": -1.0},
        {"draws": [[1.0, 0]]},
        {"draws": [[1.0, 2.5]]},
        {"draws": [[2.0, 10], [1.0, 10]]},
        {"draws": [[0.0, 10]]},
        {"architecture": 3},
        {"settings": {"test_size": None}},
        {"more": 1},
    ],
)
def test_an_entry_that_is_none_is_refused(change):
    body = as_data(replace(PLAN, stages=(STAGE,)))
    body["stages"][0] |= change
    with pytest.raises((ValueError, TypeError)):
        from_data(json.loads(json.dumps(body)))


def test_what_is_known_serves_its_own_target_alone():
    exact, precise = Sweep(ALPHAS, 10), Sweep(ALPHAS, precision=0.01)
    assert with_stages(exact, (STAGE,)) is exact
    record = next(iter(RECORDS.values()))
    assert needs(record, with_stages(precise, (STAGE,))) == []
    assert needs(record, with_stages(PLAN.sweep, (STAGE,)))
    assert needs(record, with_stages(PLAN.sweep, (replace(STAGE, architecture="vit"),))) == []
