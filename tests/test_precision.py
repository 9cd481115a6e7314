"""`--precision` and `--antithetic`: the two stages, and that no record depends on how it came."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import models
from analysis.needs import is_complete, lacking
from config import LEAST_DRAWS, PAIRS, Recipe, Run, Sweep
from data import Dataset
from runner import execute
from store import records
from store.stages import Stage, with_stages

TOTAL = 1000
ALPHAS = (0.0, 0.1, 0.5, 2.0)
SPREAD = {0.1: 1, 0.5: 25, 2.0: 60}  # images; over draws
SWEEP = Sweep(alphas=ALPHAS, draws=3, precision=0.008, max_draws=60)
SECOND = (Stage("mlp", (), 0.008, ((0.1, 10), (0.5, 14), (2.0, 60))),)


def made_up(point: tuple, antithetic: bool = False) -> list:
    """Return the row of a point: the same however often and whenever it is measured."""
    alpha, draw, sign = point
    if alpha == 0:
        return [0.0, 0, 1, 950, TOTAL, 1.0]
    noise = np.random.default_rng([draw, int(10 * alpha)]).normal()
    noise = noise * sign if antithetic else noise + (sign < 0)  # ± cancel, or are nearly alike
    return [alpha, draw, sign, round(800 - 100 * alpha + SPREAD[alpha] * noise), TOTAL, 1.0]


def measured(sweep: Sweep, rows: list = (), most: float = np.inf, second=SECOND) -> list[list]:
    """Measure on from the rows there are, as `execute.extend` does, to the end or `most` rows."""
    rows = list(rows)
    while todo := lacking(rows, sweep, second=second):
        for point in todo:
            if len(rows) >= most:
                return rows
            rows.append(made_up(point))
    return rows


def accuracies(rows: list, alpha: float, sign: int = 1) -> list[float]:
    """Return the accuracy of each draw of α, by draw number; there must be no gap."""
    found = {row[1]: row[3] / row[4] for row in rows if (row[0], row[2]) == (alpha, sign)}
    assert sorted(found) == list(range(len(found)))
    return [found[k] for k in sorted(found)]


# ---- However it was measured -----------------------------------------------------------------


def test_the_first_stage_is_alike_and_the_second_as_the_plan_says():
    first, both = measured(SWEEP, second=()), measured(SWEEP)
    assert [len(accuracies(first, a)) for a in ALPHAS[1:]] == [LEAST_DRAWS] * 3
    assert [len(accuracies(both, a)) for a in ALPHAS[1:]] == [10, 14, 60]
    assert both[: len(first)] == first and accuracies(both, 0.0) == [0.95]


def test_without_a_second_stage_the_draws_are_those_asked_for():
    sweep = replace(SWEEP, precision=0.0)
    assert lacking([], sweep) == sweep.points
    rows = measured(sweep, second=())
    assert len(rows) == 1 + 3 * 3 and lacking(rows, sweep) == []


def test_the_next_draw_is_of_all_strengths_and_closes_gaps_first():
    rows = measured(SWEEP, most=1 + 3 * LEAST_DRAWS)
    assert lacking(rows, SWEEP, second=SECOND)[:3] == [(0.5, 10, 1), (2.0, 10, 1), (0.5, 11, 1)]
    fewer = [r for r in rows if r[:2] != [0.1, 4]]
    assert lacking(fewer, SWEEP, second=SECOND) == [(0.1, 4, 1)]
    more = [*rows, made_up((0.5, 10, 1)), made_up((2.0, 12, 1))]
    assert lacking(more, SWEEP, second=SECOND)[:2] == [(2.0, 10, 1), (0.5, 11, 1)]


@given(st.integers(0, 170), st.booleans())
def test_a_killed_sweep_goes_on_to_the_same_rows(most, antithetic):
    sweep = replace(SWEEP, antithetic=antithetic)
    assert measured(sweep, measured(sweep, most=most)) == measured(sweep)


POOL = measured(replace(SWEEP, precision=0.0, draws=60, antithetic=True))


@given(st.sets(st.sampled_from(range(len(POOL)))), st.booleans())
def test_more_rows_never_open_what_was_finished(extra, antithetic):
    """Such as a merge brings: draws beyond the end, with gaps, of either sign."""
    sweep = replace(SWEEP, antithetic=antithetic)
    rows = measured(sweep)
    have = {tuple(row[:3]) for row in rows}
    more = [POOL[n] for n in extra if tuple(POOL[n][:3]) not in have]
    assert lacking(rows + more, sweep, second=SECOND) == []


def test_a_pair_lacks_what_it_lacks_and_plus_draws_keep_their_names():
    sweep = Sweep(alphas=(0, 1), draws=2, antithetic=True)
    assert lacking([], sweep) == [(0, 0, 1), (1, 0, 1), (1, 0, -1), (1, 1, 1), (1, 1, -1)]
    plus = [[0.0, 0, 1, 9, 10, 1.0], [1.0, 0, 1, 9, 10, 1.0], [1.0, 1, 1, 9, 10, 1.0]]
    assert lacking(plus, sweep) == [(1, 0, -1), (1, 1, -1)]
    assert lacking(plus, replace(sweep, antithetic=False)) == []


# ---- A real model ----------------------------------------------------------------------------

RUN = Run("mlp", "clean", 3, Recipe())
FOUND = Stage("mlp", (("noise_seed", 0), ("test_size", 0)), 0.03, ((0.05, 10), (4.0, 13)))
PRECISE = with_stages(Sweep((0.0, 0.05, 4.0), 2, precision=0.03, max_draws=13), (FOUND,))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return models.build("mlp").eval()


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Noise for images, and for labels what the untrained model says, so that it is often right."""
    torch.manual_seed(0)
    images = torch.randint(0, 256, (150, 28, 28)).to(torch.uint8)
    with torch.no_grad():
        x = (images / 255).unsqueeze(1).expand(-1, 3, -1, -1)
        torch.manual_seed(0)
        labels = models.build("mlp").eval()(x).argmax(1)
    return Dataset(images[:50], labels[:50], images[50:], labels[50:], 10)


EMPTY = records.new(RUN, "weights", [0.1], {})


def extended(record, model, dataset, sweep, most=None):
    """Return the record after `most` steps of `execute.extend`, and what was said to be left."""
    steps = list(itertools.islice(execute.extend(record, model, dataset, sweep, RUN), most))
    return steps[-1][0], [left for _, left in steps]


@pytest.fixture(scope="module")
def whole(model, dataset):
    """The record of an uninterrupted precise and antithetic sweep, and what was left each time."""
    return extended(EMPTY, model, dataset, replace(PRECISE, antithetic=True))


def test_a_sweep_is_left_with_nothing_only_at_its_end(whole):
    record, said = whole
    assert said[-1] == 0 and 0 not in said[:-1]
    assert is_complete(record, replace(PRECISE, antithetic=True))
    assert len(said) == sum(len(b["rows"]) for b in record["measurements"]) + 1  # and the Hessian
    (block,) = record["curvature"]
    assert block["images"] == 50 and {len(f) for f in block["forms"].values()} == {PAIRS["mlp"]}


def test_draws_differ_in_number_by_strength(whole):
    rows = records.rows(whole[0], PRECISE.settings)
    counts = [len(accuracies(rows, alpha)) for alpha in (0.05, 4.0)]
    assert min(counts) >= LEAST_DRAWS and max(counts) == 13 and len(set(counts)) == 2


@pytest.mark.parametrize("most", [1, 20, 30, 60, -1])
def test_a_killed_real_sweep_ends_in_the_same_bytes(whole, model, dataset, most):
    record, said = whole
    sweep = replace(PRECISE, antithetic=True)
    part, _ = extended(EMPTY, model, dataset, sweep, most % len(said))
    assert part != record and not is_complete(part, sweep)
    again, _ = extended(part, model, dataset, sweep)
    assert records.dumps(again) == records.dumps(record)


def test_extending_keeps_every_row_as_it_was(whole, model, dataset):
    """From two fixed draws to a precision, and to pairs and the Hessian."""
    fixed, _ = extended(EMPTY, model, dataset, replace(PRECISE, precision=0.0))
    assert len(records.rows(fixed, PRECISE.settings)) == 1 + 2 * 2 and "curvature" not in fixed
    precise, _ = extended(fixed, model, dataset, PRECISE)
    both, _ = extended(precise, model, dataset, replace(PRECISE, antithetic=True))
    short, long = ({repr(r) for r in records.rows(x, PRECISE.settings)} for x in (fixed, precise))
    assert short < long
    here, there = ({repr(r) for r in records.rows(x, PRECISE.settings)} for x in (both, whole[0]))
    assert here & there and both["curvature"] == whole[0]["curvature"]
    assert records.rows(both, PRECISE.settings) == records.rows(precise, PRECISE.settings)


def test_a_minus_draw_is_its_plus_draw_mirrored(model, dataset):
    """At an α so small that the loss is nearly linear in it, the two changes are opposite."""
    sweep = Sweep(alphas=(0.0, 0.01), draws=3, antithetic=True)
    record, _ = extended(EMPTY, model, dataset, sweep)
    loss = {tuple(row[:3]): row[5] for row in records.rows(record, sweep.training_settings)}
    for draw in range(3):
        up, down = (loss[0.01, draw, s] - loss[0.0, 0, 1] for s in (1, -1))
        assert abs(up + down) < 0.2 * abs(up)


def test_training_images_are_measured_in_the_pairs_of_the_architecture(whole):
    """A precision is one of accuracy on the test images: it adds nothing to the others."""
    rows = records.rows(whole[0], PRECISE.training_settings)
    points = replace(PRECISE, antithetic=True).in_pairs("mlp").points
    assert sorted((r[0], r[1], r[2]) for r in rows) == sorted(points)
    assert {row[4] for row in rows} == {50}


def test_a_record_without_its_hessian_is_not_complete(whole):
    sweep = replace(PRECISE, antithetic=True)
    record = whole[0]
    assert not is_complete({**record, "curvature": []}, sweep)
    assert not is_complete(record, replace(sweep, noise_seed=1))
    bare = {k: v for k, v in record.items() if k != "curvature"}
    assert is_complete(bare, PRECISE) and not is_complete(bare, sweep)
    first = [b for b in record["measurements"] if b["settings"] == sweep.settings]
    assert not is_complete({**record, "measurements": first}, sweep)
