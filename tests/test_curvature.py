"""reporting/curvature.py and what it stands on: radii, ratios of traces, sentences, the files."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import report
from analysis.intervals import RUN
from fakes import make_plan, make_results
from reporting import curvature
from reporting.results import read

ALPHAS = (0.01, 0.1, 1.0, 2.0)
TRACE = {("clean", 0): 8.0, ("clean", 1): 2.0, ("noisy", 0): 2.0, ("noisy", 1): 2.0}
KINDS = {
    "architecture": pd.CategoricalDtype(["mlp"], ordered=True),
    "regime": pd.CategoricalDtype(["clean", "noisy"], ordered=True),
}


def traces_of(known=TRACE) -> pd.DataFrame:
    rows = [("mlp", regime, seed, trace, 0.3) for (regime, seed), trace in known.items()]
    return pd.DataFrame(rows, columns=[*RUN, "trace", "error"]).astype(KINDS)


def rows_of(known=TRACE, beyond=lambda regime, alpha: 1.0, rounding=0.0) -> pd.DataFrame:
    """Return pairs ±ε of a loss whose curvature term is `beyond` × ½ α² trace, and that is off by
    ± `rounding` from pair to pair."""
    rows = []
    for (regime, seed), trace in known.items():
        rows.append(("mlp", regime, seed, 0.0, 0, 1, 9, 10, 10.0))
        for alpha in ALPHAS:
            for draw in range(4):
                even = beyond(regime, alpha) * alpha**2 * trace / 2 * (1 + 0.1 * (-1) ** draw)
                even += rounding * (-1) ** (draw // 2)
                for sign in (1, -1):
                    loss = 10 * (1 + even + sign * 0.05 * alpha)
                    rows.append(("mlp", regime, seed, alpha, draw, sign, 9, 10, loss))
    columns = [*RUN, "alpha", "draw", "sign", "correct", "total", "loss"]
    return pd.DataFrame(rows, columns=columns).astype(KINDS)


def radii(rows: pd.DataFrame, traces: pd.DataFrame) -> dict:
    return curvature.find_radii(curvature.compare(curvature.curvature_term(rows), traces))


# ---- Radius and ratio ------------------------------------------------------------------------


def test_the_radius_is_the_first_strength_at_which_the_second_order_fails():
    rows = rows_of(beyond=lambda regime, alpha: 2.5 if (regime, alpha) == ("clean", 1.0) else 1.9)
    assert radii(rows, traces_of()) == {("mlp", "clean"): (1, 1), ("mlp", "noisy"): (2, math.inf)}
    assert [curvature.radius_text(b) for b in radii(rows, traces_of()).values()] == ["1", "> 2"]


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_measurement_lost_in_rounding_is_no_failure(seeds):
    """The term at α = 0.01 is below 0.004, at 0.1 above 0.01; pairs are off by 0.005 or not."""
    known = {key: trace for key, trace in TRACE.items() if key[1] < seeds}
    for rounding, radius in ((0.005, (2.0, math.inf)), (0.0, (0.01, 0.01))):
        rows = rows_of(known, lambda regime, alpha: 9.0 if alpha == 0.01 else 1.0, rounding)
        assert set(radii(rows, traces_of(known)).values()) == {radius}


def test_a_measurement_that_is_surely_negative_is_a_failure():
    half = [0.1, 0.1, math.nan]
    assert curvature.validity_radius([0.1, 0.2, 0.3], [1, 1, 1], [1, -1, 1], half) == (0.2, 0.2)
    assert curvature.validity_radius([0.1, 0.2], [1, 1], [1, -1], [0.1, 2]) == (0.1, math.inf)
    assert math.isnan(curvature.validity_radius([0.1], [1], [0.1], [0.2])[0])


def test_traces_are_compared_seed_by_seed_as_ratios():
    ((name, found),) = curvature.compare_traces(traces_of()).items()
    mean, low, high, seeds = found
    assert name == ("mlp", "noisy") and seeds == 2
    assert mean == pytest.approx(0.5)  # the geometric mean of 1/4 and 1
    half = 12.7062 * np.std(np.log([0.25, 1]), ddof=1) / 2**0.5  # t with one degree of freedom
    assert (low, high) == pytest.approx((0.5 * np.exp(-half), 0.5 * np.exp(half)), rel=1e-4)
    alone = curvature.compare_traces(traces_of({k: v for k, v in TRACE.items() if k[1] == 0}))
    assert curvature.times(alone["mlp", "noisy"]) == "0.25"
    negative = curvature.compare_traces(traces_of({**TRACE, ("noisy", 1): -0.1}))
    assert curvature.times(negative["mlp", "noisy"]) == "–"


def test_the_sentence_says_both():
    rows = rows_of(beyond=lambda regime, alpha: 9 if (regime, alpha) == ("clean", 1.0) else 1)
    traces = traces_of()
    said = curvature.say_flatness(radii(rows, traces), curvature.compare_traces(traces))
    assert list(said) == ["mlp"]
    text = " ".join(said["mlp"])
    assert "Trained noisy rather than clean, Σ s² tr(H) is multiplied by 0.5 [" in text
    assert text.endswith("factor of two at α = 1 (clean), beyond α = 2 (noisy).")
    nothing, none = rows[rows.sign > 0], traces[:0]
    assert curvature.say_flatness(radii(nothing, none), curvature.compare_traces(none)) == {}


# ---- Figure and files ------------------------------------------------------------------------


def test_the_figure_is_level_at_the_predicted_height_where_the_second_order_holds():
    rows = rows_of()
    pairs = curvature.curvature_term(rows)
    terms = curvature.per_run(pairs, pairs, traces_of())
    assert len(terms) == 4 * len(ALPHAS)
    np.testing.assert_allclose(terms.measured, terms.predicted)
    np.testing.assert_allclose(terms.test, terms.measured)
    axes = Figure().subplots()
    curvature.draw_curvature(axes, terms)
    levels = [list(line.get_ydata()) for line in axes.lines if list(line.get_xdata()) == [0, 1]]
    assert levels == [[5.0, 5.0], [2.0, 2.0]]  # means over seeds
    for bars, level in zip(axes.containers, (5.0, 2.0), strict=True):
        np.testing.assert_allclose(np.asarray(bars.lines[0].get_ydata(), float), level)
    assert axes.get_yscale() == axes.get_xscale() == "log"


SMALL = {"alphas": (0.0, 0.1, 0.5, 2.0), "draws": 2}


def test_the_report_has_a_section_only_where_pairs_were_measured(tmp_path):
    plain = make_results(tmp_path / "plain", make_plan(("mlp", "cnn"), **SMALL))
    both = make_results(tmp_path / "both", make_plan(("mlp", "cnn"), **SMALL, antithetic=True))
    again = make_results(tmp_path / "again", make_plan(("mlp", "cnn"), **SMALL, antithetic=True))
    for folder in (plain, both, again):
        report.rebuild(folder)
    extra = {p.name for p in both.iterdir()} - {p.name for p in plain.iterdir()}
    assert extra == {"curvature.csv", "curvature.png", "curvature.pdf"}
    for name in (*extra, "report.html", "report.md"):
        assert (both / name).read_bytes() == (again / name).read_bytes()
    for name, images in (("report.html", 2), ("report.md", 1)):
        texts = [(folder / name).read_text() for folder in (plain, both)]
        assert ["Does flatness explain it?" in text for text in texts] == [False, True]
        mark = "<img" if name.endswith("html") else "!["
        assert texts[1].count(mark) == texts[0].count(mark) + images
        assert "first 1,024 training" in texts[1].replace("\n", " ")
    table = pd.read_csv(both / "curvature.csv")
    assert len(table) == 2 * 2 * 3 * 3 and (table.trace == 2.5).all()
    np.testing.assert_allclose(table.predicted, 1.25 * table.alpha_test**2)
    assert read(both).traces.error.iloc[0] == pytest.approx(1 / 3**0.5)


def test_pairs_on_test_images_alone_are_shown_as_they_are(tmp_path):
    """As in a record that was measured before there was an estimate of the Hessian."""
    plan = make_plan(("mlp",), **SMALL, antithetic=True)
    folder = make_results(tmp_path, plan)
    results = read(folder)
    part = replace(results, training=results.training[:0], traces=results.traces[:0])
    section = curvature.section(part)
    trace, terms, test = section.tables
    assert (trace.body, terms.body) == ([], []) and len(test.body) == 2 * 3
    assert section.csv == section.charts == section.sentences == {}
