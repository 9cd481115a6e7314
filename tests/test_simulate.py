"""benchmarks/simulate.py: what is written of it is what it found, and it still finds it."""

import json

import numpy as np
import pytest

from benchmarks import simulate, truths
from conftest import ROOT
from reporting.flags import COVERED
from simulated import within_error

FOUND = json.loads((ROOT / "benchmarks" / "simulate.json").read_text())
TEXT = (ROOT / "benchmarks" / "STATISTICS.md").read_text()
COLUMNS = ("together", "pointwise", "wrong", "same", "resolved", "bonferroni", "flagged")


@pytest.fixture(scope="module")
def rows():
    return truths.measured()


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def make_table(body: dict) -> str:
    """Return the table of kinds of data."""
    lines = [
        "| data | seeds | " + " | ".join(COLUMNS) + " |",
        "|---|---:|" + "---:|" * len(COLUMNS),
    ]
    for line in body["kinds"]:
        cells = [percent(line[name]) for name in COLUMNS]
        lines.append(f"| {line['data']} | {line['seeds']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def make_endpoints(body: dict) -> str:
    """Return the table of the endpoints."""
    lines = ["| data | seeds | together | wrong | cost resolved | tolerance resolved |"]
    lines.append("|---|---:|---:|---:|---:|---:|")
    names = ("endpoints_together", "endpoints_wrong", "cost_resolved", "tolerance_resolved")
    for line in body["kinds"]:
        if names[0] in line:
            cells = [percent(line[name]) for name in names]
            lines.append(f"| {line['data']} | {line['seeds']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def make_three(body: dict) -> str:
    """Return the table of choices of three seeds."""
    lines = [
        "| | cost | tolerance | strengths | strengths, Bonferroni |",
        "|---|---:|---:|---:|---:|",
    ]
    for line in body["three_of_six"]:
        cells = [percent(v) for k, v in line.items() if k != "architecture"]
        lines.append(f"| {line['architecture']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def make_methods(body: dict) -> str:
    """Return the table of methods: wrong / resolved."""
    methods = list(body["methods"][0]["floor"])
    lines = ["| data | seeds | floor | " + " | ".join(methods) + " |"]
    lines.append("|---|---:|---|" + "---:|" * len(methods))
    for line in body["methods"]:
        for floor in ("no floor", "floor"):
            cells = [
                f"{percent(m['wrong'])} / {percent(m['resolved'])}" for m in line[floor].values()
            ]
            name = "yes" if floor == "floor" else "no"
            lines.append(f"| {line['data']} | {line['seeds']} | {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


@pytest.mark.parametrize("make", [make_table, make_endpoints, make_three, make_methods])
def test_the_tables_are_those_of_the_simulation(make):
    assert make(FOUND) in TEXT


def test_what_the_report_says_is_what_was_found():
    together = {}
    for line in FOUND["kinds"]:
        together.setdefault(line["data"].split(",")[0], []).append(line["together"])
    for said, kind in (("skewed", "resnet18"), ("collapsing", "collapsing")):
        low, high = min(together[kind]), max(together[kind])
        assert COVERED[said] == f"{100 * low:.0f} to {high:.0%}"


@pytest.mark.parametrize("seeds", simulate.SEEDS)
@pytest.mark.parametrize("kind", ["resnet18", "collapsing", "two peaks", "normal, one point"])
def test_hard_data_still_give_the_rates_that_are_written(rows, kind, seeds):
    repeats = 200
    data = truths.kinds(rows)[kind](np.random.default_rng(7), repeats, seeds)
    found = simulate.judge(data)
    (written,) = (x for x in FOUND["kinds"] if (x["data"], x["seeds"]) == (kind, seeds))
    for name in ("together", "any"):
        assert within_error(found[name], min(max(written[name], 0.01), 0.99), repeats)


def test_truths_are_the_means_of_what_is_made(rows):
    for kind, make in truths.kinds(rows).items():
        alphas, accuracy, truth = make(np.random.default_rng(0), 400, 6)
        effect = (accuracy[:, 1] - accuracy[:, 0]).mean(axis=(1, 3))  # (experiments, k)
        error = effect.std(axis=0) / np.sqrt(400)
        assert len(alphas) == len(truth)
        assert (np.abs(effect.mean(axis=0) - truth) <= 4.5 * error + 1e-12).all(), kind


@pytest.mark.parametrize("name", simulate.METHODS)
def test_alternatives_resolve_what_is_plain_and_nothing_where_nothing_is(name):
    rng = np.random.default_rng(0)
    noise = 0.01 * rng.normal(size=(40, 7, 5))
    method, least = simulate.METHODS[name], np.full((40, 5), 1e-4)
    assert method(noise + 1.0, least).all()
    assert method(noise, least).mean() < 0.1
