"""benchmarks/two_stage.py: what is written of it is what it found, and it still finds it."""

import json

import numpy as np
import pytest

from analysis import stages
from benchmarks import truths, two_stage
from conftest import ROOT
from simulated import within_error
from store.stages import MOST_DRAWS

FOUND = json.loads((ROOT / "benchmarks" / "two_stage.json").read_text())
TEXT = (ROOT / "benchmarks" / "STATISTICS.md").read_text()
RULES = ("stops when lucky", "two stages")


def make_known(body: dict) -> str:
    """Return the table of the mean of one model."""
    lines = ["| data | seeds | coverage | bias | draws |", "|---|---:|---:|---:|---:|"]
    for line in body["known"]:
        pairs = [
            " → ".join(text.format(line[rule][name]) for rule in RULES)
            for name, text in (("coverage", "{:.1%}"), ("bias", "{:+.2f}"), ("draws", "{:.0f}"))
        ]
        lines.append(f"| {line['data']} | {line['seeds']} | {' | '.join(pairs)} |")
    return "\n".join(lines)


def make_effects(body: dict) -> str:
    """Return the table of paired effects."""
    lines = [
        "| data | draws' part | seeds | coverage, ten | coverage | bias ± s.e. | draws | "
        "longer, ten | longer |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for x in body["effects"]:
        cells = [
            *(f"{x['part']:.0%}", x["seeds"], f"{x['ten']:.1%}", f"{x['coverage']:.1%}"),
            *(f"{x['bias']:+.2f} ± {x['error']:.2f}", f"{x['draws']:.0f}"),
            *(f"{x['ten longer'] - 1:.0%}", f"{x['longer'] - 1:.0%}"),
        ]
        lines.append(f"| {x['data']} | {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def make_weighed(body: dict) -> str:
    """Return the table of shares and most draws that were weighed."""
    lines = ["| share | most | draws' part | draws | longer |", "|---:|---:|---:|---:|---:|"]
    for x in body["weighed"]:
        cells = [x["share"], x["most"], f"{x['part']:.0%}", f"{x['draws']:.0f}"]
        lines.append(f"| {' | '.join(map(str, cells))} | {x['longer'] - 1:.0%} |")
    return "\n".join(lines)


@pytest.mark.parametrize("make", [make_known, make_effects, make_weighed])
def test_the_tables_are_those_of_the_simulation(make):
    assert make(FOUND) in TEXT


def test_what_was_chosen_was_weighed():
    assert (stages.SHARE, MOST_DRAWS) in two_stage.SHARES


@pytest.fixture(scope="module")
def makers():
    return two_stage.makers(truths.measured())


@pytest.mark.parametrize("data", ["lower mode, 20%", "collapses, 5%"])
def test_two_stages_are_less_biased_than_what_stops_when_lucky(makers, data):
    repeats = 150
    found = two_stage.known_mean(*makers[data], 3, repeats)
    (written,) = (x for x in FOUND["known"] if (x["data"], x["seeds"]) == (data, 3))
    for rule in RULES:
        assert within_error(found[rule]["coverage"], written[rule]["coverage"], repeats)
    assert 0 < found["two stages"]["bias"] + 0.05 < found["stops when lucky"]["bias"]


def test_effects_of_skewed_draws_are_covered_and_not_biased(makers):
    make, _ = makers["collapses, 5%"]
    found = two_stage.effects(make, 3, 0.03, stages.SHARE, MOST_DRAWS, 200)
    assert abs(found["bias"]) < 4 * found["error"]
    assert found["coverage"] >= 0.95 or within_error(found["coverage"], 0.95, 200)


def test_means_of_what_is_made_are_what_is_said(makers):
    for make, mean in makers.values():
        values = make(np.random.default_rng(0), (40_000,))
        assert abs(values.mean() - mean) < 4.5 * values.std() / 200
