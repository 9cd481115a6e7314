"""benchmarks/of_reference.py: what is written of it is what it found, and it still finds it."""

import json

import numpy as np
import pytest

from benchmarks import of_reference
from conftest import ROOT
from reporting.results import read
from simulated import within_error

FOUND = json.loads((ROOT / "benchmarks" / "of_reference.json").read_text())
TEXT = (ROOT / "benchmarks" / "STATISTICS.md").read_text()


@pytest.fixture(scope="module")
def rows():
    return read(ROOT / "results" / "reference").rows


@pytest.mark.parametrize("part", ["three_of_six", "endpoints"])
def test_the_tables_are_what_it_found(part):
    for line in FOUND[part]:
        first, *rest = line.values()
        cells = [str(v) if isinstance(v, int) else f"{100 * v:.1f}" for v in rest]
        assert f"| {first} | {' | '.join(cells)} |" in TEXT


def test_three_seeds_of_the_reference_resolve_what_is_written(rows):
    found = of_reference.three_of_six(rows)
    assert found == [pytest.approx(line, abs=1e-4) for line in FOUND["three_of_six"]]
    cost, tolerance, strengths = (
        np.mean([line[name] for line in found]) for name in ("cost", "tolerance", "strengths")
    )
    assert tolerance == 1
    said = f"in every choice and the cost in {cost:.0%} of them, where {strengths:.0%} of the"
    assert said in " ".join(TEXT.split())


def test_the_coverage_that_is_written_spans_what_was_found():
    together = [line["endpoints_together"] for line in FOUND["endpoints"]]
    said = f"The two hold together in {100 * min(together):.0f} to {max(together):.0%}"
    assert said in " ".join(TEXT.split())
    assert not any(line["endpoints_wrong"] for line in FOUND["endpoints"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp", "resnet18"])
def test_it_still_finds_it(rows, name):
    repeats = 60
    mine = rows[rows.architecture == name]
    mine = mine.assign(architecture=mine.architecture.cat.remove_unused_categories())
    for line in of_reference.simulate(mine, repeats):
        (written,) = (
            x for x in FOUND["endpoints"] if (x["data"], x["seeds"]) == (name, line["seeds"])
        )
        expected = min(max(written["endpoints_together"], 0.02), 0.98)
        assert within_error(line["endpoints_together"], expected, repeats)
        assert not line["endpoints_wrong"]
