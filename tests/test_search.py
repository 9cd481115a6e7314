"""The search for the break: where it goes on, where it ends, and that it depends on rows alone."""

import itertools
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fakes
from analysis.needs import is_complete, lacking, needs
from analysis.search import Search, search
from config import FIRST_ALPHAS, Recipe, Run, Sweep
from noises import FAMILIES
from noises.family import Family, ladder
from store import records

SWEEP = Sweep(draws=3)
GAUSSIAN = FAMILIES["gaussian"]
TOTAL = 10_000


def falling(half: float, steep: float = 4.0, spread: float = 0.02):
    """Return accuracy by point: from 0.98 to chance, halfway at about `half`, draws apart."""

    def accuracy(point: tuple) -> float:
        alpha, draw, sign = point
        place = half * (1 + spread * (draw - 1) * sign)
        return 0.1 + 0.88 / (1 + (alpha / place) ** steep)

    return accuracy


def row_of(accuracy, point: tuple) -> list:
    return [*point, round(TOTAL * accuracy(point)), TOTAL, 1.0]


def measured(accuracy, sweep=SWEEP, rows=(), most=10_000, **options) -> list[list]:
    """Measure on as `execute.extend` does, to the end or to `most` rows."""
    rows = list(rows)
    while todo := lacking(rows, sweep, **{"chance": 0.1, **options}):
        for point in todo:
            if len(rows) >= most:
                return rows
            rows.append(row_of(accuracy, point))
    return rows


def strengths(rows: list) -> list[float]:
    return sorted({row[0] for row in rows})


def test_the_ladder_is_one_for_all():
    assert ladder(0.2, 3) == (0.3, 0.5, 0.7, 1, 1.4, 2, 3)
    assert set(FIRST_ALPHAS[1:]) <= set(ladder(0, 100))


def test_no_strengths_asked_for_is_the_first_and_on_to_the_break():
    assert Sweep().alphas == FIRST_ALPHAS and Sweep().find_break
    assert not Sweep(alphas=(0, 0.1)).find_break
    rows = measured(falling(1.1), Sweep(alphas=(0, 0.1), draws=3))
    assert strengths(rows) == [0, 0.1]


@pytest.mark.parametrize("half", [0.013, 0.12, 0.31, 1.1, 2.9, 45])
def test_the_break_is_found_and_closed_in_on(half):
    accuracy = falling(half)
    rows = measured(accuracy)
    found = strengths(rows)
    rungs = [a for a in found if a in ladder(0, 100)]
    mean = {a: sum(r[3] / TOTAL for r in rows if r[0] == a) / 3 for a in rungs if a}
    middle = (0.98 + 0.1) / 2
    below = [a for a in rungs if a and mean[a] <= middle]
    assert rungs[0] == 0.01 and set(FIRST_ALPHAS) <= set(found)
    assert below, "halfway was reached"
    if half > 0.2:
        assert len(below) == 1 and below[0] == rungs[-1], "and it went no further"
    low, high = (max(a for a in rungs if a < below[0]), below[0])
    between = [a for a in found if low < a < high]
    assert len(between) == 2
    ends = [a for a in (low, *between, high)]
    near = [(a, b) for a, b in itertools.pairwise(ends) if a <= half * 1.01 and b >= half * 0.99]
    assert near and min(b / a for a, b in near) < (high / low) ** 0.51
    counts = {a: sum(row[0] == a for row in rows) for a in found}
    assert counts.pop(0) == 1 and set(counts.values()) == {3}, "every strength has all draws"


def test_it_ends_with_the_ladder():
    rows = measured(lambda point: 0.97)
    assert strengths(rows)[-1] == 100 and lacking(rows, SWEEP, chance=0.1) == []


def test_a_model_that_guesses_has_no_break():
    assert strengths(measured(lambda point: 0.1)) == list(FIRST_ALPHAS)


def test_draw_0_leads_and_the_mean_decides():
    def accuracy(point):  # draw 0 falls sooner than the others
        return 0.9 if point[0] < (0.5 if point[1] == 0 else 2) else 0.1

    rows = measured(accuracy)
    assert strengths(rows)[-4:] == [1.4, 1.67, 1.83, 2] and len(rows) == 1 + 3 * (
        len({*FIRST_ALPHAS}) - 1 + 6 + 2
    )


def test_a_family_of_whole_steps_is_not_divided_and_one_of_the_readers_own_is_climbed():
    family = Family("", (1, 2), lambda w, z, s: w, beyond=(4, 8, 16), divisible=False)
    rows = measured(falling(6), replace(SWEEP, alphas=(0, 1.0, 2.0)), family=family)
    assert strengths(rows) == [0, 1, 2, 4, 8]


def test_the_other_regime_is_followed_to_its_rung():
    rows = measured(falling(0.4), least=3.0)
    rungs = [a for a in strengths(rows) if a in ladder(0, 100)]
    assert rungs == [a for a in ladder(0, 3) if a in FIRST_ALPHAS or a > 0.2]


@given(
    half=st.floats(0.02, 50),
    steep=st.floats(1, 12),
    spread=st.floats(0, 0.4),
    cuts=st.lists(st.integers(1, 12), max_size=4),
    precision=st.sampled_from([0.0, 0.01]),
    seed=st.integers(0, 9),
)
def test_what_is_measured_does_not_depend_on_kills_or_order(
    half, steep, spread, cuts, precision, seed
):
    sweep = Sweep(draws=2, precision=precision, max_draws=12)
    accuracy = falling(half, steep, spread)
    whole = measured(accuracy, sweep)
    rows: list = []
    for cut in cuts:
        rows = measured(accuracy, sweep, rows, most=len(rows) + cut)
        random.Random(seed).shuffle(rows)
    rows = measured(accuracy, sweep, rows)
    assert sorted(rows) == sorted(whole)
    assert len({(a, d, s) for a, d, s, *_ in rows}) == len(rows)
    # more rows, such as a merge brings, reopen nothing
    more = [row_of(accuracy, (a, 50, 1)) for a in strengths(rows) if a]
    assert lacking([*rows, *more], sweep, chance=0.1) == []


def test_it_starts_with_what_it_needs_first():
    found = search({}, SWEEP, GAUSSIAN, 0.1)
    assert found == Search(FIRST_ALPHAS[1:], probe=0.0)
    assert lacking([], SWEEP)[:2] == [(0.0, 0, 1), (0.01, 0, 1)]
    assert {draw for _, draw, _ in lacking([], SWEEP)} == {0}


# ---- Whole records ---------------------------------------------------------------------------


def record_of(regime: str, traits: dict | None = None) -> tuple[Run, records.Record]:
    run = Run("mlp", regime, 0, Recipe())
    return run, records.new(run, "weights", [0.1], {}, traits)


def filled(record, accuracy, sweep, others=()):
    while blocks := needs(record, sweep, others):
        block = blocks[0]
        rows = [row_of(accuracy, p) for p in block.points]
        record = records.add(record, block.settings, rows)
    return record


def test_both_regimes_of_a_seed_go_to_the_later_break_whoever_comes_first():
    for first, second in itertools.permutations([("clean", 0.4), ("noisy", 4.2)]):
        _, early = record_of(first[0])
        _, late = record_of(second[0])
        early = filled(early, falling(first[1]), SWEEP)
        late = filled(late, falling(second[1]), SWEEP, [early])
        assert is_complete(early, SWEEP) and is_complete(late, SWEEP, [early])
        assert is_complete(early, SWEEP, [late]) == (first[1] > second[1])
        early = filled(early, falling(first[1]), SWEEP, [late])
        rungs = [
            [a for a in strengths(records.rows(r, SWEEP.settings)) if a in ladder(0, 100)]
            for r in (early, late)
        ]
        assert rungs[0] == rungs[1] and rungs[0][-1] == 5
        assert is_complete(late, SWEEP, [early]), "and that ends it"


def test_every_policy_and_family_is_searched_by_itself(monkeypatch):
    monkeypatch.setitem(
        FAMILIES, "steps", Family("", (1, 2), lambda w, z, s: w, beyond=(4, 8), divisible=False)
    )
    sweep = replace(SWEEP, noise=("steps:1.0,2.0,...",))
    _, record = record_of("clean", {"chance": 0.1, "batchnorm": True})
    record = filled(record, falling(3.4), sweep)
    blocks = {str(b["settings"]): strengths(b["rows"]) for b in record["measurements"]}
    assert len(blocks) == 4  # two families under two policies
    assert blocks[str(sweep.settings_of("steps", "reestimated"))] == [0, 1, 2, 4]
    assert blocks[str(sweep.settings)][-1] == 5
    plain = record_of("clean")[1]
    assert len(filled(plain, falling(3.4), sweep)["measurements"]) == 2


def test_a_plan_keeps_whether_a_family_goes_on():
    sweep = Sweep(noise=("steps:1.0,2.0,...", "fixed:3.0"))
    assert sweep.families == {"steps": (1.0, 2.0), "fixed": (3.0,)}
    assert sweep.goes_on("steps") and not sweep.goes_on("fixed")
    assert sweep.of_family("steps", None, False).find_break
    assert not sweep.of_family("fixed", None, False).find_break


def test_joined_plans_look_for_the_break_where_one_of_them_does():
    fixed, found = fakes.make_plan(alphas=(0, 0.7)), fakes.make_plan(alphas=())
    both = fixed.joined(found)
    assert both.sweep.find_break and set(both.sweep.alphas) == {*FIRST_ALPHAS, 0.7}
