"""Methods side by side: where it stands, what it says of budget, teacher and size, pictures."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

import report
from analysis.endpoints import against_both
from analysis.shape import find_flags
from config import Recipe, Sweep
from fakes import ALPHAS, make_plan, make_results, measure
from reporting import frontier, side_by_side
from reporting.plots import panels
from reporting.results import read
from store import records
from store.plan import Plan
from store.plan_file import save_plan

FIVE = ("clean", "noisy", "sam", "distillation", "clipping")
REALISED = {
    "clean": {"cost": 4.0},
    "noisy": {"cost": 4.0, "sizes": [0.6, 0.8]},
    "sam": {"cost": 4.0, "sizes": [None, 0.0]},
    "distillation": {"cost": 4.0, "teacher": 3.0, "sizes": [0.5]},
}


def make(folder, regimes=FIVE, seeds=(0, 1, 2), recipe=None):
    """Write a folder in which the records say what their training came to, but for clipping's."""
    plan = Plan(("mlp",), regimes, seeds, recipe or Recipe(), Sweep(alphas=ALPHAS, draws=2))
    save_plan(folder, plan)
    for run in plan.runs:
        record = records.new(run, run.run_id, [0.3], {})
        if run.regime in REALISED:
            record["realised"] = REALISED[run.regime]
        rows = measure(run, plan.sweep.points, plan.sweep.settings)
        record = records.add(record, plan.sweep.settings, rows)
        records.save(folder / "runs" / f"{run.run_id}.json", record)
    return folder


@pytest.fixture(scope="module")
def section(tmp_path_factory):
    return side_by_side.section(read(make(tmp_path_factory.mktemp("five"))))


@pytest.mark.parametrize("regime", ["clean", "sam"])
def test_a_noise_that_one_regime_alone_has_come_to_is_no_error(tmp_path, regime):
    """As in a folder of which the next noise is under way."""
    sweep = Sweep(alphas=ALPHAS, draws=2, noise=("multiplicative:0.1,0.5",))
    plan = Plan(("mlp",), FIVE[:3], (0, 1), Recipe(), sweep)
    save_plan(tmp_path, plan)
    for run in plan.runs:
        record = records.new(run, run.run_id, [0.3], {})
        asked = {"gaussian": plan.sweep.points}
        if run.regime == regime:
            asked["multiplicative"] = [(0.0, 0, 1), (0.1, 0, 1), (0.5, 0, 1)]
        for name, points in asked.items():
            settings = sweep.settings_of(name)
            record = records.add(record, settings, measure(run, points, settings))
        records.save(tmp_path / "runs" / f"{run.run_id}.json", record)
    assert report.rebuild(tmp_path).missing
    assert set(pd.read_csv(tmp_path / "methods.csv").noise) == {"gaussian"}
    assert not (tmp_path / "trainings.csv").exists()  # no record tells


def test_two_regimes_need_no_comparison(tmp_path):
    found = side_by_side.section(read(make(tmp_path, ("clean", "noisy"))))
    assert not (found.title or found.tables or found.charts or found.csv)


def test_it_is_part_of_the_report(tmp_path):
    make_results(tmp_path, make_plan(("mlp",), FIVE[:3], alphas=ALPHAS))
    report.rebuild(tmp_path)
    assert {"methods.csv", "ranking.csv", "methods.png"} <= {p.name for p in tmp_path.iterdir()}
    for name in ("report.html", "report.md"):
        text = (tmp_path / name).read_text()
        assert "Methods side by side" in text and "Cost against noisy" in text


def test_every_method_has_both_baselines_and_a_place(section):
    endpoints, places, _ = section.tables
    assert [row[0] for row in endpoints.body] == ["noisy", "sam", "clipping", "distillation"]
    assert endpoints.body[0][3:] == ["–", "–"] and "–" not in endpoints.body[1]
    assert {row[0] for row in places.body} == {*FIVE}
    shares = section.csv["ranking.csv"]
    assert shares["first"].sum() == pytest.approx(1) and set(shares.noise) == {"gaussian"}
    assert set(section.csv["methods.csv"].baseline) == {"clean", "noisy"}
    (line, *rest) = section.sentences["mlp"]
    assert "on the front" in line and "of resamples" in line and not rest


def test_what_training_was_is_told(section):
    body = {row[1]: row[2:] for row in section.tables[-1].body}
    assert body == {
        "clean": ["–", "4.00", "–", "–", "3"],
        "noisy": ["α 0.7", "4.00", "–", "0.7", "3"],
        "sam": ["rho 0.2", "4.00", "–", "0 (never active)", "3"],
        "distillation": ["α 0.7, beta 1, temperature 4", "4.00", "3.00", "0.5", "3"],
    }


def test_the_files_have_what_training_was_and_what_is_flagged(section):
    table = section.csv["trainings.csv"].set_index("regime")
    assert table.passes.eq(4).all() and table.seeds.eq(3).all() and "clipping" not in table.index
    assert table.teacher["distillation"] == 3 and table.moved["noisy"] == pytest.approx(0.7)
    assert np.isnan(table.moved["clean"]) and table.parameters["sam"] == "rho 0.2"
    assert list(section.csv["methods.csv"])[-1] == "flags"


def test_a_seed_far_from_the_others_marks_its_method_alone(tmp_path):
    found = read(make(tmp_path, seeds=tuple(range(6))))
    odd = (found.rows.regime == "sam") & (found.rows.seed == 3) & (found.rows.alpha > 0)
    rows = found.rows.assign(correct=found.rows.correct.where(~odd, 0.1 * found.rows.total))
    ends = side_by_side.flagged(against_both(rows), rows, find_flags(rows))
    marked = ends[ends["flags"].str.contains("a seed far") & (ends.endpoint == "tolerance")]
    assert set(marked.regime) == {"sam"} and set(marked.baseline) == {"clean", "noisy"}
    assert "†" in side_by_side.endpoints_table(ends, "mlp").body[1][2]


def test_the_budget_is_said(section, tmp_path):
    assert "Equal epochs" in section.intro and "Equal budget" not in section.intro
    found = side_by_side.section(read(make(tmp_path, recipe=Recipe(budget=3))))
    assert "Equal budget" in found.intro and "3 epochs of plain training" in found.intro


def test_one_seed_has_no_ranking_and_still_a_picture(tmp_path):
    found = side_by_side.section(read(make(tmp_path, seeds=(0,))))
    assert found.csv["ranking.csv"].empty and found.sentences["mlp"] == []
    assert [len(table.body) for table in found.tables] == [4, 4]
    assert found.charts["methods"].panels().axes[0].lines


def test_methods_that_lack_seeds_are_named(tmp_path):
    folder = make(tmp_path)
    for path in (folder / "runs").glob("mlp-sam-seed[12]-*"):
        path.unlink()
    found = side_by_side.section(read(folder))
    assert "Not ranked, since it lacks seeds of the others: sam." in found.sentences["mlp"][1]


# ---- The picture -----------------------------------------------------------------------------


@pytest.mark.parametrize("count", [3, 19])
def test_names_stand_apart(count):
    rng = np.random.default_rng(count)
    names = [f"method{i}" for i in range(count)]
    kind = pd.CategoricalDtype(["clean", *names], ordered=True)
    rows = []
    for name in names:
        cost, ratio = rng.normal(0.5, 0.1), np.exp(0.01 * rng.normal())
        who = {"architecture": "mlp", "regime": name}
        ends = {"value_low": cost, "value_high": cost, "low": cost - 1, "high": cost + 1}
        rows.append(who | {"endpoint": "cost"} | ends)
        ends = {"value_low": ratio, "value_high": ratio, "low": ratio / 2, "high": ratio * 2}
        rows.append(who | {"endpoint": "tolerance"} | ends)
    ends = pd.DataFrame(rows).astype({"regime": kind})
    ranks = pd.DataFrame({"architecture": "mlp", "regime": names, "on_front": [True] * count})

    def draw(axes, ends, ranks):
        frontier.draw_front("clean", axes, ends, ranks)

    figure = panels(draw, (ends, ranks), ["mlp"], lambda ends: "")
    axes = figure.axes[0]
    texts = [text for text in axes.texts if text.get_text()]
    assert {text.get_text() for text in texts} == {"clean", *names}
    FigureCanvasAgg(figure).draw()
    height = axes.get_window_extent().height
    places = sorted(text.xyann[1] * height for text in texts)
    tall = max(text.get_fontsize() for text in texts) * figure.dpi / 72
    assert np.diff(places).min() >= tall
    assert figure.bbox.y0 <= min(places) and max(places) <= figure.bbox.y1


def test_a_bound_is_an_arrow_and_what_is_not_known_is_left_out():
    inf = float("inf")
    bounds = {"more": (1.5, inf, 1.2, inf), "less": (0, 0.5, 0, 0.7), "none": (0, inf, 0, inf)}
    rows = []
    for name, (low, high, least, most) in bounds.items():
        cost = {"value_low": 1.0, "value_high": 1.0, "low": 0.5, "high": 1.5}
        ratio = {"value_low": low, "value_high": high, "low": least, "high": most}
        rows.append({"regime": name, "endpoint": "cost"} | cost)
        rows.append({"regime": name, "endpoint": "tolerance"} | ratio)
    found = frontier.positions(pd.DataFrame(rows)).set_index("regime")
    assert found.bound.to_dict() == {"more": "^", "less": "v"}
    assert found.y.to_dict() == {"more": 1.5, "less": 0.5}


def test_where_none_is_seen_to_fall_there_is_no_order_and_no_picture(tmp_path):
    folder = make(tmp_path, seeds=(0, 1))
    results = read(folder)
    only = replace(results, rows=results.rows[results.rows.alpha < 0.05])
    found = side_by_side.section(only)
    assert not found.charts and len(found.tables) == 2  # endpoints and trainings
    assert found.sentences["mlp"] == [
        "Under Gaussian noise none was seen halfway to chance: no ranking."
    ]


def test_places_keep_order_and_distance():
    places = frontier.apart(np.array([0.1, 0.1, 0.5, 0.98, 0.99, 1.0]), 0.1)
    assert np.diff(places).min() >= 0.1 - 1e-12 and places[0] >= 0 and places[-1] <= 1
    assert places[2] == 0.5
