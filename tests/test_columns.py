"""CSV files: one name for one thing, and each in `docs/files.md`."""

import re
from pathlib import Path

import pandas as pd
import pytest

import report
from config import REESTIMATED
from conftest import ROOT
from fakes import make_plan, make_results, measure
from reporting.columns import named
from store import records

GUIDE = (ROOT / "docs" / "files.md").read_text(encoding="utf-8")
NAME = re.compile(r"`([^`]+)`")


def documented() -> dict[str, set[str]]:
    """Return the columns that the guide has for each CSV file."""
    rows = re.findall(r"^\| `([\w-]+\.csv)` \|[^|]*\|([^|]*)\|$", GUIDE, re.MULTILINE)
    return {name: {*NAME.findall(columns)} for name, columns in rows}


def explained() -> set[str]:
    """Return the columns that the guide explains."""
    table = GUIDE.partition("## Columns")[2]
    cells = re.findall(r"^\|([^|]*)\|", table, re.MULTILINE)
    return {name for cell in cells for name in NAME.findall(cell)}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A report of whatever is in a CSV file, but somebody's own models."""
    folder = tmp_path_factory.mktemp("columns") / "results"
    families = {"bit_errors": (0.0, 0.001, 0.1), "quantization": (0.0, 0.0625, 0.25)}
    words = ("bit_errors:0.001,0.1", "quantization:4,8")
    plan = make_plan(("mlp",), alphas=(0, 0.1, 2.0), noise=words, draws=2, antithetic=True)
    make_results(folder, plan)
    for run in plan.runs:
        path = folder / "runs" / f"{run.run_id}.json"
        record = records.load(path)
        for family, strengths in families.items():
            settings = plan.sweep.settings_of(family)
            points = [(s, draw, 1) for s in strengths for draw in range(2)]
            rows = [[*row, 0.1] for row in measure(run, points, settings)]
            record = records.add(record, settings, rows)
        settings = plan.sweep.settings_of("gaussian", REESTIMATED)
        points = [point for point in plan.sweep.points if point[2] > 0]
        path.write_text(
            records.dumps(records.add(record, settings, measure(run, points, settings)))
        )
    report.rebuild(folder)
    return folder


def test_every_column_of_every_file_is_in_the_guide(made):
    files = {path.name: pd.read_csv(path).columns for path in made.glob("*.csv")}
    guide = documented()
    assert len(files) >= 11
    for name, columns in files.items():
        assert {*columns} <= guide[name], name
        assert columns.is_unique


def test_the_guide_explains_every_column_that_it_lists():
    assert {name for columns in documented().values() for name in columns} <= explained()


def test_a_strength_has_one_name():
    table = pd.DataFrame({"alpha": [0.1], "accuracy": [0.5]})
    assert [*named(table)] == ["alpha_test", "accuracy"]
    assert [*named(table.rename(columns={"alpha": "strength"}))] == ["alpha_test", "accuracy"]
    with pytest.raises(ValueError, match="one name"):
        named(table.assign(strength=1.0))


def test_accuracy_has_mean_interval_and_n_of_every_curve(made):
    table, sweep = (pd.read_csv(made / f"{name}.csv") for name in ("accuracy", "sweep"))
    key = ["noise", "batchnorm", "architecture", "regime", "alpha_test"]
    means = sweep.groupby([*key, "seed"]).accuracy.mean().groupby(key).mean()
    assert len(table) == len(means) and not table.duplicated(key).any()
    found = table.set_index(key)
    pd.testing.assert_series_equal(found.accuracy.sort_index(), means.sort_index())
    assert (found.low < found.accuracy).all() and (found.accuracy < found.high).all()
    assert (found.seeds == 3).all() and (found.chance == 0.1).all()
