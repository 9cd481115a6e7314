"""looks.py, of analysis and of store: seeds are fixed at first; what adding some costs."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import endpoints, intervals, looks
from analysis.verdicts import LEVEL, RESOLVED, t_factor
from conftest import ROOT
from fakes import make_plan, make_results
from reporting.opening import opening
from reporting.pages import SECTIONS, make_sections
from reporting.results import read
from runner.fixing import fix_seeds
from simulated import not_above, simulate
from store.folders import Folders
from store.looks import canonical, fixed, united_looks
from store.merge import merge_results
from store.plan_file import as_data, ask, forget, from_data, load_plan, save_plan

# ---- Which seeds are fixed -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("groups", "before", "asked", "looked", "expected"),
    [
        ((), (), (2, 0, 1), False, ((0, 1, 2),)),  # the first execution
        (((0, 1, 2),), (0, 1, 2), (0, 1), True, ((0, 1, 2),)),  # a part, or the same again
        (((0, 1, 2),), (0, 1, 2), (0, 3, 4), True, ((0, 1, 2), (3, 4))),  # added after a look
        (((0, 1, 2),), (0, 1, 2), (3,), False, ((0, 1, 2, 3),)),  # before there was one
        ((), (0, 1), (0, 1), True, ((0, 1),)),  # a plan of before: one look
        ((), (0, 1), (0, 1, 2), True, ((0, 1), (2,))),
        (((0, 1), (2,)), (0, 1, 2), (3,), True, ((0, 1), (2,), (3,))),
    ],
)
def test_seeds_are_fixed_once_and_what_is_added_is_a_group(groups, before, asked, looked, expected):
    assert fixed(groups, before, asked, looked) == expected


seeds = st.sets(st.integers(0, 6), min_size=1).map(tuple)
some = st.dictionaries(st.sampled_from(["mlp", "cnn"]), st.lists(seeds, min_size=1, max_size=3))
looked_at = some.map(lambda d: tuple((name, canonical(d[name])) for name in sorted(d)))


@given(looked_at, looked_at, looked_at)
def test_plans_meet_in_any_order(a, b, c):
    assert united_looks(a, b) == united_looks(b, a) and united_looks(a, a) == a
    assert united_looks(united_looks(a, b), c) == united_looks(a, united_looks(b, c))


def test_a_plan_keeps_its_groups_through_asking_forgetting_and_merging(tmp_path):
    plan = replace(make_plan(("mlp",)), looks=(("mlp", ((0, 1, 2), (3, 4))),))
    assert from_data(json.loads(json.dumps(as_data(plan)))) == plan
    for name, more in (("a", plan), ("b", replace(plan, looks=(("mlp", ((5,),)),)))):
        (tmp_path / name / "runs").mkdir(parents=True)
        ask(tmp_path / name, more)
        ask(tmp_path / name, make_plan(("cnn",)))
    forget(tmp_path / "a", make_plan(("cnn",)))
    assert load_plan(tmp_path / "a") == plan
    merge_results(tmp_path / "a", [tmp_path / "b"])
    assert load_plan(tmp_path / "a").looks == (("mlp", ((0, 1, 2), (3, 4), (5,))),)


@pytest.mark.parametrize(
    "wrong", [{"mlp": []}, {"mlp": [[]]}, {"mlp": [["0"]]}, {"mlp": [[-1]]}, []]
)
def test_what_is_no_group_of_seeds_is_refused(wrong):
    body = as_data(make_plan(("mlp",)))
    with pytest.raises((ValueError, TypeError, AttributeError)):
        from_data({**json.loads(json.dumps(body)), "looks": wrong})


def test_executing_fixes_what_was_not_looked_at_together_and_the_rest_apart(tmp_path):
    folders = Folders(Path("data"), tmp_path / "checkpoints", tmp_path)
    first, more = make_plan(("mlp",)), make_plan(("mlp", "cnn"), seeds=(3, 4))
    assert dict(fix_seeds(first, folders).looks) == {"mlp": ((0, 1, 2),)}
    save_plan(tmp_path, fix_seeds(first, folders))
    assert dict(fix_seeds(more, folders).looks) == {"mlp": ((0, 1, 2, 3, 4),), "cnn": ((3, 4),)}
    make_results(tmp_path, first)
    save_plan(tmp_path, fix_seeds(first, folders))
    found = dict(fix_seeds(more, folders).looks)
    assert found == {"mlp": ((0, 1, 2), (3, 4)), "cnn": ((3, 4),)}
    other = replace(more, sweep=replace(more.sweep, noise_seed=9))
    assert dict(fix_seeds(other, folders).looks)["mlp"] == ((3, 4),), "it replaces the plan"


# ---- What it costs ---------------------------------------------------------------------------


def test_one_look_has_the_whole_error_and_each_further_one_a_fifth():
    rows = simulate(4, repeats=3)
    plain, once = intervals.paired_effects(rows), intervals.paired_effects(rows.assign(looks=1))
    assert (plain.half == once.half).all() and (plain.verdict == once.verdict).all()
    for count in (2, 3):
        table = intervals.paired_effects(rows.assign(looks=count))
        part = looks.SPENT ** (count - 1)
        error = table.sd / np.sqrt(table.seeds)
        factor = t_factor(4, 1, 1 - (1 - LEVEL) * part / 2)  # of the two endpoints
        zero = table.alpha == 0
        assert table.half[zero].to_numpy() == pytest.approx((factor * error[zero]).to_numpy())
        assert (table.half > plain.half).all()
        ends = endpoints.endpoints(rows.assign(looks=count), effects=table)
        assert ends.comparisons.to_numpy() == pytest.approx(2 / part)


def test_looks_of_one_architecture_cost_the_others_nothing():
    rows = simulate(4, repeats=2)
    table = intervals.paired_effects(rows.assign(looks=1 + (rows.architecture == 1)))
    plain = intervals.paired_effects(rows)
    same = (table.half == plain.half).groupby(table.architecture).all()
    assert same[0] and not same[1]


def test_looking_again_and_again_keeps_the_error():
    """Without an effect: as many false words in any of three looks as one look may have."""
    repeats, false = 600, []
    rows = simulate(10, repeats=repeats, within=0.0005)
    for look, n in enumerate((3, 6, 10), start=1):
        table = intervals.paired_effects(rows[rows.seed < n].assign(looks=look))
        wrong = table.verdict.isin(RESOLVED)
        false.append(wrong.groupby(table.architecture).any().to_numpy())
    assert not_above(np.any(false, axis=0).mean(), (1 - LEVEL) * looks.total(3), repeats)


# ---- What is said ----------------------------------------------------------------------------


def test_the_report_says_that_seeds_were_added(tmp_path):
    plan = make_plan(("mlp",), seeds=(0, 1, 2, 3))
    make_results(tmp_path, plan)
    said = {}
    for groups in (((0, 1, 2, 3),), ((0, 1), (2, 3))):
        save_plan(tmp_path, replace(plan, looks=(("mlp", groups),)))
        results = read(tmp_path)
        found = opening(results, make_sections(results, SECTIONS))
        said[groups] = found.note
        assert ("added after a look" in found.brief) == (len(groups) > 1)
    once, twice = said.values()
    assert "added" not in once and "(0 1; then 2 3)" in twice and "99%" in twice and "6%" in twice


def test_what_is_said_is_what_is_spent():
    for count in (2, 3, 4):
        groups = tuple((n,) for n in range(count))
        text = looks.say_looks({"mlp": groups, "vit": ((0, 1),)}, LEVEL)
        assert f"{100 * (1 - 0.05 * looks.SPENT ** (count - 1)):.5g}%" in text and "vit" not in text
    assert looks.say_looks({"mlp": ((0, 1),)}, LEVEL) == ""
    assert [round(looks.total(n), 3) for n in (1, 2, 3)] == [1, 1.2, 1.24]
    assert list(itertools.accumulate(looks.SPENT**n for n in range(9)))[-1] < 1.25


# ---- What was simulated ----------------------------------------------------------------------

FOUND = json.loads((ROOT / "benchmarks" / "looks.json").read_text())
TEXT = (ROOT / "benchmarks" / "STATISTICS.md").read_text()


def make_rules(body: dict) -> str:
    """Return the table of rules for one comparison: false in any look, power of any look."""
    rules = list(dict.fromkeys(line["rule"] for line in body["comparisons"]))
    lines = [f"| seeds at each look | {' | '.join(rules)} |", "|---|" + "---:|" * len(rules)]
    ways = list(dict.fromkeys(tuple(line["way"]) for line in body["comparisons"]))
    for way in ways:
        mine = {x["rule"]: x for x in body["comparisons"] if tuple(x["way"]) == way}
        cells = [f"{100 * mine[r]['false']:.1f} / {100 * mine[r]['power']:.0f}" for r in rules]
        lines.append(f"| {', '.join(map(str, way))} | {' | '.join(cells)} |")
    return "\n".join(lines)


def make_words(body: dict) -> str:
    """Return the table of the report's words."""
    lines = ["| data | seeds at each look | 5% each time | now |", "|---|---|---:|---:|"]
    for x in body["words"]:
        cells = [f"{100 * x[name]:.1f}" for name in ("5% each time", "now")]
        lines.append(f"| {x['data']} | {', '.join(map(str, x['way']))} | {' | '.join(cells)} |")
    return "\n".join(lines)


def make_factors(body: dict) -> str:
    """Return the table of factors of a standard error."""
    lines = [
        "| seeds | " + " | ".join(str(x["seeds"]) for x in body["factors"]) + " |",
        "|---|" + "---:|" * len(body["factors"]),
    ]
    for name in ("t", "always valid"):
        lines.append(f"| {name} | " + " | ".join(f"{x[name]:.1f}" for x in body["factors"]) + " |")
    return "\n".join(lines)


@pytest.mark.parametrize("make", [make_rules, make_words, make_factors])
def test_the_tables_are_those_of_the_simulation(make):
    assert make(FOUND) in TEXT


def test_what_was_simulated_is_what_is_spent():
    assert FOUND["spent"] == looks.SPENT
    assert max(x["now"] for x in FOUND["words"]) <= 1 - LEVEL
