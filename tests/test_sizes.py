"""Every family on one axis, and rounding beside Gaussian tolerance: sections of the report."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

import fakes
import report
from analysis.intervals import paired_effects
from noises import FAMILIES
from noises.family import Family
from reporting import families, protection, quantised, sizes
from reporting.results import read
from store import records

STRENGTHS = (0.5, 1.0, 2.0, 4.0)


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Noise of half the Gaussian's size at each strength that hurts by its size alone."""
    for name in ("half", "quantization"):
        monkeypatch.setitem(FAMILIES, name, Family("", STRENGTHS, lambda w, z, s: w))
    plan = fakes.make_plan(seeds=(0, 1, 2, 3), alphas=(0, 0.25, 0.5, 1.0, 2.0, 3.0))
    fakes.make_results(tmp_path, plan)
    for run in plan.runs:
        path = tmp_path / "runs" / f"{run.run_id}.json"
        record = records.load(path)
        for name in ("half", "quantization"):
            points = [(2 * a, d, 1) for a, d, s in plan.sweep.points if s > 0 and d == 0]
            rows = fakes.measure(run, [(p[0] / 2, *p[1:]) for p in points], plan.sweep.settings)
            rows = [[p[0], *row[1:], p[0] / 2] for p, row in zip(points, rows)]
            record = records.add(record, plan.sweep.settings_of(name), rows)
        path.write_text(records.dumps(record))
    return tmp_path


def test_equal_sizes_hurt_equally_where_they_do(results):
    found = read(results)
    made = sizes.section(found)
    table = made.csv["sizes.csv"]
    assert set(table.noise) == {"gaussian", "half", "quantization"}
    half = table[(table.noise == "half") & (table.strength > 0)]
    assert np.allclose(half["size"], half.strength / 2)
    for one in made.tables:
        cells = {row[0]: [float(cell.split()[0]) for cell in row[1:]] for row in one.body}
        assert np.allclose(cells["gaussian"], cells["half"], rtol=0.15), one


def test_without_other_noise_there_is_no_such_section(tmp_path):
    fakes.make_results(tmp_path, fakes.make_plan())
    found = read(tmp_path)
    for make in (sizes.section, quantised.section, protection.section):
        part = make(found)
        assert not (part.title or part.csv or part.charts or part.tables)


def test_the_correlation_is_spearmans_and_its_interval_covers(results):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 20))
    y = 0.6 * x + 0.8 * rng.normal(size=x.shape)
    found = [quantised.correlate(a, b) for a, b in zip(x, y)]
    assert found[0][0] == stats.spearmanr(x[0], y[0]).statistic
    true = 6 / np.pi * np.arcsin(0.6 / 2)  # of a bivariate normal with correlation .6
    covered = np.mean([low <= true <= high for _, low, high in found])
    assert 0.92 <= covered <= 0.985
    assert np.isnan(quantised.correlate(x[0, :3], y[0, :3])[0])
    assert np.isnan(quantised.correlate(np.ones(9), x[0, :9])[0])


@pytest.mark.slow
def test_the_report_shows_both(results):
    report.rebuild(results)
    text = (results / "report.md").read_text()
    assert "One axis for all noise" in text and "Gaussian tolerance and rounding" in text
    for name in (
        "sizes-clean.png",
        "protection.png",
        "quantised-quantization.png",
        "quantised.csv",
    ):
        assert (results / name).exists()
    assert "-" in [row[2][0] for row in quantised.section(read(results)).tables[0].body]


def test_strengths_stand_as_people_write_them_and_the_break_of_each_noise_is_compared(tmp_path):
    plan = fakes.make_plan(("mlp",), noise=("pcm:3600.0,86400.0",), alphas=(0, 1.0))
    fakes.make_results(tmp_path, plan)
    for run in plan.runs:
        path = tmp_path / "runs" / f"{run.run_id}.json"
        record, settings = records.load(path), plan.sweep.settings_of("pcm")
        points = [(0.0, 0, 1), (3600.0, 0, 1), (86400.0, 0, 1)]
        rows = [[*p, 9000, 10_000, 1.0, 0.2] for p in points]
        path.write_text(records.dumps(records.add(record, settings, rows)))
    [tolerances, table] = families.section(read(tmp_path)).tables
    assert [row[0] for row in table.body] == ["0", "1 h", "1 d"]
    [[noise, _, regime, said]] = tolerances.body
    assert (noise, regime) == ("pcm", "noisy") and "not reached" in said


def test_what_training_protects_against_is_judged_where_the_baseline_is_hit_half(results):
    found = read(results)
    made = protection.section(found)
    table = made.csv["protection.csv"]
    assert set(table.noise) == {"gaussian", "half", "quantization"}
    by_family = families.section(found).csv["families.csv"]
    for row in table[table.noise != "gaussian"].to_dict("records"):
        mine = by_family[by_family.noise == row["noise"]]
        mine = mine[mine.architecture == row["architecture"]]
        clean = mine[mine.regime == "clean"].set_index("strength").accuracy
        half = (clean[0] + 0.1) / 2
        assert abs(clean[row["strength"]] - half) == (clean.drop(0) - half).abs().min()
        at = (mine.regime == row["regime"]) & (mine.strength == row["strength"])
        same = mine[at].iloc[0]
        for name in ("effect", "effect_low", "effect_high", "verdict"):
            assert row[name] == same[name]
    assert len(made.tables[0].body) == 3 and "protection" in made.charts


def test_both_batchnorm_policies_are_compared_each_with_its_own_baseline(results):
    found = read(results)
    anew = found.rows.assign(correct=found.rows.correct // 2)  # half as much is right, of both
    made = protection.section(dataclasses.replace(found, reestimated={"gaussian": anew}))
    table = made.csv["protection.csv"]
    table = table[table.noise == "gaussian"].set_index(["batchnorm", "architecture", "regime"])
    for name in found.architectures:
        frozen, other = (
            table.loc[("frozen", name, "noisy")],
            table.loc[("reestimated", name, "noisy")],
        )
        at = paired_effects(anew).set_index(["architecture", "regime", "alpha"])
        own = at.loc[(name, "noisy", other.strength)]
        assert (other.effect, other.effect_low) == (own.effect, own.low)
        assert other.accuracy < frozen.accuracy
    body = made.tables[0].body
    assert [row[0].endswith("BatchNorm re-estimated") for row in body] == [False] * 3 + [True]
    assert "hollow" in made.intro
    made.charts["protection"].panels()
