"""curvature.py in analysis and in reporting: pairs, sentences, the figure, the files."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import report
from analysis import flatness
from analysis.curvature import pair_terms, rise, totals
from analysis.intervals import RUN
from fakes import make_plan, make_results
from reporting import curvature
from reporting.curvature_chart import draw_curvature
from reporting.results import read

ALPHAS = (0.05, 0.1, 1.0, 2.0)
LEVEL = {("clean", 0): 8.0, ("clean", 1): 4.0, ("noisy", 0): 2.0, ("noisy", 1): 1.0}
KINDS = {
    "architecture": pd.CategoricalDtype(["mlp"], ordered=True),
    "regime": pd.CategoricalDtype(["clean", "noisy"], ordered=True),
}
PAIRS = 4


def forms_of(known=LEVEL, share=1.0) -> pd.DataFrame:
    """Return forms of pairs that are off by 10% one way and the other."""
    rows = [
        ("mlp", regime, seed, draw, share * level * (1 + 0.1 * (-1) ** draw))
        for (regime, seed), level in known.items()
        for draw in range(PAIRS)
    ]
    return pd.DataFrame(rows, columns=[*RUN, "draw", "form"]).astype(KINDS)


def rows_of(known=LEVEL, beyond=lambda alpha: 1.0) -> pd.DataFrame:
    """Return pairs ±ε of a loss with the curvature term `beyond` × ½ α² level, off by 10% from pair
    to pair, and a linear term beside it."""
    rows = []
    for (regime, seed), level in known.items():
        rows.append(("mlp", regime, seed, 0.0, 0, 1, 9, 10, 10.0))
        for alpha in ALPHAS:
            for draw in range(PAIRS):
                even = beyond(alpha) * alpha**2 * level / 2 * (1 + 0.1 * (-1) ** draw)
                for sign in (1, -1):
                    loss = 10 * (1 + even + sign * 0.01 * alpha)
                    rows.append(("mlp", regime, seed, alpha, draw, sign, 9, 10, loss))
    columns = [*RUN, "alpha", "draw", "sign", "correct", "total", "loss"]
    return pd.DataFrame(rows, columns=columns).astype(KINDS)


def runs_of(known=LEVEL, share=1.0, beyond=lambda alpha: 1.0) -> pd.DataFrame:
    return flatness.of_runs(pair_terms(rows_of(known, beyond), forms_of(known, share)))


# ---- Pairs -----------------------------------------------------------------------------------


def test_pairs_split_the_loss_and_stand_beside_the_form_of_the_same_draw():
    pairs = pair_terms(rows_of(), forms_of())
    assert len(pairs) == len(LEVEL) * len(ALPHAS) * PAIRS
    np.testing.assert_allclose(pairs.even, pairs.predicted)
    np.testing.assert_allclose(pairs.odd, 0.01 * pairs.alpha)
    assert pair_terms(rows_of()).predicted.isna().all()
    lone = pair_terms(rows_of(), forms_of()[lambda t: t.draw != 2])
    assert set(lone[lone.predicted.isna()].draw) == {2}


def test_a_form_that_is_not_finite_is_not_known():
    found = totals({"a": [1.0, None, 2.0], "b": [1.0, 1.0, -1.0]})
    np.testing.assert_array_equal(found, [2.0, np.nan, 1.0])


def test_the_rise_is_that_of_the_mean_over_draws():
    found = rise(rows_of())
    assert len(found) == len(LEVEL) * len(ALPHAS)
    first = found[(found.regime == "clean") & (found.seed == 0)].set_index("alpha").rise
    assert first[1.0] == pytest.approx(4.0 + 0.01)  # with the linear term of +ε
    rows = rows_of()
    rows.loc[(rows.alpha == 1.0) & (rows.draw == 2), "loss"] = np.nan
    assert rise(rows).set_index("alpha").rise[1.0].isna().all()


# ---- Sentences -------------------------------------------------------------------------------


def said_of(runs: pd.DataFrame, gain=(1.9, 2.1)) -> str:
    """Return the sentences where a model of each seed stands so many times the baseline's noise."""
    who = {"architecture": "mlp", "metric": "alpha_half"}
    over = {"seeds": 2, "censored": 0, "mean_low": 1.9, "mean_high": 1.9, "low": 1.8, "high": 2.1}
    breaks = pd.DataFrame([{**who, **over, "regime": r} for r in ("clean", "noisy")])
    one = {**who, "regime": "noisy"}
    gains = pd.DataFrame([one | dict(seed=s, low=g, high=g) for s, g in enumerate(gain)])
    return " ".join(curvature.say_flatness(runs, breaks, gains, "mlp"))


def test_a_smooth_loss_is_predicted_and_a_kinked_one_is_not():
    smooth, kinked = said_of(runs_of()), said_of(runs_of(share=0.8))
    assert "The Hessian has 1 [1, 1] (clean), 1 [1, 1] (noisy) of the curvature" in smooth
    assert "no difference from all of it is resolved" in smooth
    assert "The Hessian has 0.8 [0.8, 0.8] (clean)" in kinked
    assert "does not predict it in clean, noisy: the rest is of the same order" in kinked
    assert "predicts more than there is in clean, noisy" in said_of(runs_of(share=1.2))


def test_flatter_is_said_where_the_interval_says_so():
    found = said_of(runs_of())
    assert "multiplied by 0.25 [" in found and "flatter; Σ s² tr(H) by 0.25 [" in found
    other = {**LEVEL, ("noisy", 1): 16.0}
    assert ": unresolved; Σ s² tr(H)" in said_of(runs_of(other))
    upside_down = {key: 64 / level for key, level in LEVEL.items()}
    assert ": sharper; Σ s² tr(H)" in said_of(runs_of(upside_down))


def test_what_flatness_would_explain_stands_beside_what_is_there():
    """A quarter of the curvature is the same loss at twice the α."""
    assert "raise α₅₀ by a factor of 2 [" in said_of(runs_of())
    assert said_of(runs_of()).count("seed by seed: the two are not told apart.") == 1
    assert "allows, seed by seed: flatness does not explain it." in said_of(runs_of(), (1.02, 1.03))
    more = said_of(runs_of(), (2.6, 2.61))
    assert "1.3 [" in more and "allows, seed by seed: flatness does not explain all of it." in more
    assert "times the noise." in said_of(runs_of(), (1.02,))  # one has no ends, and says nothing


def test_what_is_left_is_taken_seed_by_seed():
    """Two intervals of their own overlap, though in both seeds the same is left."""
    uneven = {**LEVEL, ("noisy", 1): 4 * LEVEL["noisy", 1]}
    gain = [1.5 * r**-0.5 for r in flatness.against_baseline(runs_of(uneven)).measured]
    gain[1] *= 1.01
    found = said_of(runs_of(uneven), gain)
    assert "unresolved" in found and "1.51 [" in found
    assert "allows, seed by seed: flatness does not explain it." in found


def test_the_radius_is_said_with_its_interval_and_the_break():
    found = said_of(runs_of(beyond=lambda alpha: 4.0 if alpha == 2 else 1.0))
    assert "up to α = 1.41" in found and "(clean, α₅₀ = 1.9 [1.8, 2.1])" in found
    assert "up to α > 2 (clean" in said_of(runs_of())


# ---- Figure and files ------------------------------------------------------------------------


def test_the_figure_is_level_where_the_second_order_holds():
    pairs = pair_terms(rows_of(), forms_of(share=0.5))
    terms = curvature.per_run(pairs, rows_of())
    axes = Figure().subplots()
    draw_curvature(axes, terms, flatness.of_runs(pairs))
    thick = [line.get_ydata()[0] for line in axes.lines if len(line.get_ydata()) == 2][:2]
    assert thick == pytest.approx([0.5 * 32**0.5, 0.5 * 2**0.5])  # geometric means over seeds
    for bars, level in zip(axes.containers, (6.0, 1.5), strict=True):
        np.testing.assert_allclose(np.asarray(bars.lines[0].get_ydata(), float), level)
    assert axes.get_yscale() == axes.get_xscale() == "log"
    labels = [axes.yaxis.get_major_formatter()(value, 0) for value in (0.01, 1.0)]
    assert labels == ["0.01", "1"]  # as mathematics, unparsed, they leave the panel no room


SMALL = {"alphas": (0.0, 0.05, 0.1, 0.5, 2.0), "draws": 2}
FILES = {"curvature.csv", "flatness.csv", "curvature.png", "curvature.pdf"}


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_the_report_has_a_section_only_where_pairs_were_measured(tmp_path):
    plain = make_results(tmp_path / "plain", make_plan(("mlp", "vit"), **SMALL))
    both = make_results(tmp_path / "both", make_plan(("mlp", "vit"), **SMALL, antithetic=True))
    again = make_results(tmp_path / "again", make_plan(("mlp", "vit"), **SMALL, antithetic=True))
    for folder in (plain, both, again):
        assert not report.rebuild(folder).missing
    extra = {p.name for p in both.iterdir()} - {p.name for p in plain.iterdir()}
    assert extra == FILES
    for name in (*extra, "report.html", "report.md"):
        assert (both / name).read_bytes() == (again / name).read_bytes()
    for name in ("sweep.csv", "summary.csv", "effects.csv", "endpoints.csv"):
        assert (both / name).read_bytes() == (plain / name).read_bytes()
    for name, images in (("report.html", 2), ("report.md", 1)):
        texts = [(folder / name).read_text() for folder in (plain, both)]
        assert ["Does flatness explain it?" in text for text in texts] == [False, True]
        mark = "<img" if name.endswith("html") else "!["
        assert texts[1].count(mark) == texts[0].count(mark) + images
        assert "first 1,024 training" in texts[1].replace("\n", " ")
    table = pd.read_csv(both / "curvature.csv")
    assert len(table) == 2 * 2 * 3 * 4
    assert table.groupby("architecture").pairs.unique().to_dict() == {"mlp": [32], "vit": [12]}
    np.testing.assert_allclose(table.predicted, 1.25 * table.alpha_test**2)
    assert len(pd.read_csv(both / "flatness.csv")) == 2 * 2 * 3


def test_pairs_without_forms_are_shown_without_a_prediction(tmp_path):
    """As where the Hessian was taken along other draws, or not yet."""
    results = read(make_results(tmp_path, make_plan(("mlp",), **SMALL, antithetic=True)))
    found = curvature.section(replace(results, forms=results.forms[:0]))
    flat, terms = found.tables
    assert len(flat.body) == 2 and len(terms.body) == 2 * 4
    assert all("Hessian has" not in line for line in found.sentences["mlp"])
    assert curvature.section(replace(results, training=results.training[:0])).tables == []
