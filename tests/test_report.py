"""Records → tables, figures, report: made-up records in, files out."""

import csv
import html.parser
import io
import json
import os
import random
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import report
from analysis import intervals
from analysis.curvature import curvature_term, pair_terms
from analysis.verdicts import RESOLVED, t_factor
from config import REGIMES, Recipe, Regime, Run
from fakes import make_plan, make_results, measure, read_json
from reporting import accuracy, curvature, pages, plots
from reporting.results import find_missing, read
from reporting.section import Chart, Section
from reporting.text import NONE, Table, bounds, with_half
from reporting.words import say_alphas
from store import records
from store.files import Damaged
from store.merge import Merged, NotResults, merge_results
from store.plan_file import load_plan, save_plan

ROOT = Path(__file__).parent.parent
WRITTEN = {
    *("summary.csv", "sweep.csv", "results.json", "endpoints.csv", "effects.csv", "curves.csv"),
    "accuracy.csv",
    *(f"{name}.{kind}" for name in ("robustness", "effects", "draws") for kind in ("pdf", "png")),
    *("report.html", "report.md", "table.tex", "table-full.tex"),
}
SMALL = {"alphas": (0.0, 0.1, 0.5, 2.0), "draws": 2}


@pytest.fixture
def folder(tmp_path) -> Path:
    """A complete results folder of two architectures, two regimes and three seeds."""
    return make_results(tmp_path / "results", make_plan(**SMALL))


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """The same folder with everything rebuilt once, for tests that only look."""
    folder = tmp_path_factory.mktemp("made") / "results"
    make_results(folder, make_plan(**SMALL), gain=3.0)
    report.rebuild(folder)
    return folder


def run_report(*arguments, **environment) -> subprocess.CompletedProcess:
    """Run report.py as a user would."""
    command = [sys.executable, ROOT / "report.py", *map(str, arguments)]
    env = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, env=env, check=False)


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder and its bytes."""
    files = (p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def read_csv(path: Path) -> list[dict]:
    """Return the rows of a CSV file, as text."""
    return list(csv.DictReader(io.StringIO(path.read_text())))


# --- the tables ---------------------------------------------------------------------------------


def test_tables_have_the_documented_columns_and_every_run(made):
    summary, sweep = read_csv(made / "summary.csv"), read_csv(made / "sweep.csv")
    assert ",".join(summary[0]) == "architecture,regime,seed,acc_0,acc_0.1,drop_0.1"
    assert ",".join(sweep[0]) == "architecture,regime,seed,alpha_test,draw,accuracy,loss"
    assert len(summary) == 2 * 2 * 3 and len(sweep) == 12 * (1 + 3 * 2)
    assert [row["architecture"] for row in summary] == ["mlp"] * 6 + ["cnn"] * 6  # as in the plan


def test_tables_show_the_counts_of_the_records(tmp_path):
    plan = make_plan(("mlp",), ("clean",), (0,), alphas=(0.0, 0.1), draws=2)
    save_plan(tmp_path, plan)
    record = records.new(plan.runs[0], "w", [0.5], {})
    rows = [
        [0.0, 0, 1, 98, 100, 5.0],
        [0.1, 0, 1, 97, 100, 7.5],
        [0.1, 1, 1, 96, 100, None],
        [0.1, 2, 1, 92, 100, 9.0],
    ]
    records.save(
        tmp_path / "runs" / f"{record['run_id']}.json",
        records.add(record, plan.sweep.settings, rows),
    )
    report.rebuild(tmp_path, everything=False)
    assert (tmp_path / "summary.csv").read_text().splitlines()[1] == "mlp,clean,0,0.98,0.95,0.03"
    assert (tmp_path / "sweep.csv").read_text().splitlines()[1:] == [
        "mlp,clean,0,0.0,0,0.98,0.05",
        "mlp,clean,0,0.1,0,0.97,0.075",
        "mlp,clean,0,0.1,1,0.96,",
        "mlp,clean,0,0.1,2,0.92,0.09",
    ]
    body = read_json(tmp_path / "results.json")
    assert body["sweep"][2]["loss"] is None and body["summary"][0]["drop_0.1"] == 0.03


def test_results_json_says_what_how_and_the_numbers(made):
    text = (made / "results.json").read_text()
    body = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert list(body) == ["config", "provenance", "summary", "sweep"]
    assert body["config"]["recipe"]["epochs"] == Recipe().epochs
    assert len(body["provenance"]) == len(body["summary"]) == 12
    frame = pd.read_csv(made / "sweep.csv")
    pd.testing.assert_frame_equal(pd.DataFrame(body["sweep"]), frame)


def test_reference_alpha_is_matched_exactly_and_empty_where_not_swept(tmp_path):
    make_results(tmp_path, make_plan(alphas=(0.0, 0.1000001, 2.0), draws=1))
    found = report.rebuild(tmp_path, everything=False)
    assert found.summary["acc_0"].notna().all() and found.summary["acc_0.1"].isna().all()
    assert read_csv(tmp_path / "summary.csv")[0]["drop_0.1"] == ""
    assert "–" in found.text and "nan" not in found.text.lower()


@pytest.mark.slow
def test_printed_summary_is_the_documented_one(folder):
    run = run_report("--results-dir", folder)
    assert (run.returncode, run.stderr) == (0, "")
    lines = run.stdout.splitlines()
    assert lines[0].split() == ["Architecture", "Regime", "Seed", "Acc(0)", "Acc(0.1)", "Drop"]
    first = read_csv(folder / "summary.csv")[0]
    assert lines[1].split()[:3] == ["mlp", "clean", "0"]
    printed = [float(cell) for cell in lines[1].split()[3:]]
    assert printed == [round(float(first[k]), 4) for k in ("acc_0", "acc_0.1", "drop_0.1")]
    start = lines.index("Mean drop at α = 0.1") + 2
    means = lines[start : lines.index("", start)]
    assert [line.split()[:2] for line in means] == [
        [name, regime] for name in ("mlp", "cnn") for regime in ("clean", "noisy")
    ]
    drops = pd.read_csv(folder / "summary.csv").groupby(["architecture", "regime"])["drop_0.1"]
    assert float(means[1].split()[2]) == round(drops.mean()["mlp", "noisy"], 4)
    assert means[1].split()[3] == "3"
    number = r"-?\d+\.\d\d"
    assert lines[-1] == f"results are in {folder}/ (open report.html)"
    assert [line.split()[:2] for line in lines[-6:-2]] == [
        [name, regime] for name in ("mlp", "cnn") for regime in ("clean", "noisy")
    ]
    assert all("█" in line and line.endswith("α = 0 to 2") for line in lines[-6:-2])
    for line, name in zip(lines[-10:-8], ("mlp", "cnn"), strict=True):  # the answer comes last
        assert re.match(rf"{name} noisy: cost {number} ± {number} points \(\w+\), tolerance ", line)


def test_sign_column_appears_only_with_antithetic_draws(tmp_path):
    folder = make_results(tmp_path, make_plan(("mlp",), **SMALL))
    report.rebuild(folder, everything=False)
    before = (folder / "summary.csv").read_bytes()
    plan = load_plan(folder)
    run = plan.runs[0]
    path = folder / "runs" / f"{run.run_id}.json"
    minus = measure(run, [(0.1, 0, -1), (0.1, 1, -1)], plan.sweep.settings)
    records.save(path, records.add(records.load(path), plan.sweep.settings, minus))
    report.rebuild(folder)
    sweep = read_csv(folder / "sweep.csv")
    assert list(sweep[0])[-2:] == ["loss", "sign"]
    assert [row["sign"] for row in sweep].count("-1") == 2
    assert (folder / "summary.csv").read_bytes() == before  # + draws alone are averaged
    assert "Does flatness explain it?" not in (folder / "report.html").read_text()


def test_curvature_is_shown_beside_its_prediction(tmp_path):
    plan = make_plan(("mlp",), **SMALL, antithetic=True)
    make_results(tmp_path, plan)
    results = read(tmp_path)
    assert find_missing(plan, results.records) == []
    assert len(results.training) == 6 * (1 + 2 * 3 * 32) and len(results.forms) == 6 * 32
    flat, both = curvature.section(results).tables
    assert len(both.body) == 2 * 3 and len(flat.body) == 2
    line = next(row for row in both.body if row[:2] == ["mlp, clean", "0.5"])
    assert line[3] == "0.312 ± 0"  # ½ · 0.5² · 2.5, the same for every seed of the fake
    assert line[6] == "3 / 32"
    measured = terms_of_pairs(results)
    mean = measured[(measured.regime == "clean") & (measured.alpha == 0.5)].even.mean()
    assert line[5] == f"{0.3125 / mean:.2f}"


def terms_of_pairs(results) -> pd.DataFrame:
    return curvature_term(pair_terms(results.training, results.forms))


def test_what_antithetic_sweeps_lack_is_named(tmp_path):
    plan = make_plan(("mlp",), ("clean",), (0,), **SMALL)
    make_results(tmp_path, plan)
    asked = replace(plan, sweep=replace(plan.sweep, antithetic=True))
    (message,) = find_missing(asked, read(tmp_path).records)
    assert message.split(": ")[1] == (
        "193 measurements on training images missing (at α = 0, 0.1, 0.5, 2); the Hessian along "
        "the draws is missing"
    )


# --- what is there, what is missing -------------------------------------------------------------

PARTIAL = {
    "no records": lambda run, point: False,
    "one run": lambda run, point: (run.architecture, run.seed, run.regime) == ("mlp", 0, "clean"),
    "one regime": lambda run, point: run.regime == "noisy",
    "one seed": lambda run, point: run.seed == 1,
    "one seed of noisy": lambda run, point: run.regime == "clean" or run.seed == 2,
    "no start": lambda run, point: point[0] > 0,
    "only the start": lambda run, point: point[0] == 0,
    "some strengths": lambda run, point: point[0] in (0, 0.5) or run.seed == 0,
    "unequal draws": lambda run, point: point[1] == 0 or run.seed + (run.regime == "noisy") > 1,
    "one architecture": lambda run, point: run.architecture == "cnn",
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", PARTIAL)
def test_partial_results_make_a_whole_report(tmp_path, name):
    plan = make_plan(**SMALL)
    make_results(tmp_path, plan, PARTIAL[name])
    found = report.rebuild(tmp_path)
    assert set(contents(tmp_path)) >= WRITTEN
    lacking = [
        run
        for run in plan.runs
        if not all(PARTIAL[name](run, point) for point in plan.sweep.points)
    ]
    assert len(found.missing) == len(lacking) > 0
    page = (tmp_path / "report.html").read_text()
    for run, message in zip(lacking, found.missing, strict=True):
        assert message.startswith(run.run_id)
        assert message in found.text and run.run_id in page
    words = " ".join(Page(page).text)
    for text in (found.text, words, (tmp_path / "report.md").read_text()):
        assert not re.search(r"\bnan\b|\binf\b|None", text)


def test_incomplete_run_names_what_it_lacks(tmp_path):
    plan = make_plan(("mlp",), ("clean",), (0,), **SMALL)
    make_results(tmp_path, plan, lambda run, point: point[:2] != (0.5, 1))
    (message,) = report.rebuild(tmp_path, everything=False).missing
    assert message == f"{plan.runs[0].run_id}: 1 measurement missing (at α = 0.5)"


def test_other_recipes_and_bad_files_are_left_out_and_named(folder):
    before = report.rebuild(folder, everything=False)
    other = Run("mlp", "clean", 0, Recipe(epochs=9))
    path = folder / "runs" / f"{other.run_id}.json"
    rows = measure(other, [(0.0, 0, 1)], load_plan(folder).sweep.settings)
    record = records.new(other, "w", [0.5], {})
    records.save(path, records.add(record, load_plan(folder).sweep.settings, rows))
    (folder / "runs" / "broken.json").write_text("{")
    after = report.rebuild(folder, everything=False)
    pd.testing.assert_frame_equal(after.sweep, before.sweep)
    assert len(after.left_out) == 2
    assert any(m.startswith(other.run_id) and "epochs 9" in m for m in after.left_out)
    assert any(m.startswith("broken.json") for m in after.left_out)  # no path of this machine
    assert all(m in after.text for m in after.left_out)


def test_runs_outside_the_plan_but_of_its_recipe_enter(folder):
    extra = make_plan(("vit",), ("clean",), (7,), **SMALL)
    full = load_plan(folder)
    make_results(folder, extra)
    save_plan(folder, full)
    found = report.rebuild(folder, everything=False)
    assert found.missing == []
    assert tuple(found.summary.iloc[-1][["architecture", "seed"]]) == ("vit", 7)


def test_measurements_under_other_settings_do_not_mix(folder):
    plan = load_plan(folder)
    path = folder / "runs" / f"{plan.runs[0].run_id}.json"
    before = report.rebuild(folder, everything=False).sweep
    rows = measure(plan.runs[0], [(0.0, 0, 1)], {"noise_seed": 1}, total=100)
    settings = replace(plan.sweep, noise_seed=1).settings
    records.save(path, records.add(records.load(path), settings, rows))
    pd.testing.assert_frame_equal(report.rebuild(folder, everything=False).sweep, before)


# --- repeatable, light, alone -------------------------------------------------------------------


@pytest.mark.slow
def test_same_inputs_give_the_same_bytes_in_any_surroundings(folder, tmp_path):
    copy = tmp_path / "elsewhere" / "copy"
    shutil.copytree(folder, copy)
    (tmp_path / "matplotlibrc").write_text("axes.facecolor: red\nsavefig.dpi: 20\n")
    report.rebuild(folder)
    run = run_report(
        *("--results-dir", copy),
        SOURCE_DATE_EPOCH="1",
        MATPLOTLIBRC=str(tmp_path / "matplotlibrc"),
        MPLBACKEND="svg",
        PYTHONHASHSEED="7",
        TZ="Asia/Tokyo",
    )
    assert run.returncode == 0, run.stderr
    mine, theirs = contents(folder), contents(copy)
    assert {name for name in mine if mine[name] != theirs.get(name)} == set()
    assert set(mine) - WRITTEN == {"plan.json", *(n for n in mine if n.startswith("runs"))}


def test_nothing_of_torch_or_pyplot_is_loaded():
    code = "import sys, report; print({'torch', 'matplotlib.pyplot'} & set(sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "set()"


def test_tables_alone_on_request(folder):
    report.rebuild(folder, everything=False)
    made = set(contents(folder)) & WRITTEN
    assert made == {"summary.csv", "sweep.csv", "results.json"}


@pytest.mark.parametrize("plan", [None, "{", '{"architectures": []}'])
def test_a_folder_without_a_good_plan_is_refused_in_one_line(tmp_path, plan):
    if plan is not None:
        (tmp_path / "plan.json").write_text(plan)
    before = contents(tmp_path)
    run = run_report("--results-dir", tmp_path)
    assert (run.returncode, run.stdout) == (2, "")
    assert len(run.stderr.splitlines()) == 1 and "plan" in run.stderr
    assert contents(tmp_path) == before


# --- the pages ----------------------------------------------------------------------------------


class Page(html.parser.HTMLParser):
    """Collects what the tests ask of a page."""

    VOID = ("meta", "img", "br", "link", "input")

    def __init__(self, text: str):
        super().__init__()
        self.open, self.tags, self.text = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & {*self.open}:
            self.text.append(data)

    def all(self, tag: str) -> list[dict]:
        """Return the attributes of every such tag."""
        return [attrs for name, attrs in self.tags if name == tag]


def test_page_stands_alone_and_is_accessible(made):
    text = (made / "report.html").read_text()
    page = Page(text)
    assert page.open == []
    assert page.all("html") == [{"lang": "en"}] and page.all("title")
    assert any(m.get("name") == "viewport" for m in page.all("meta"))
    without_scripts = re.sub("<script.*?</script>", "", text, flags=re.DOTALL)
    assert "http" not in without_scripts
    assert not any({"src", "integrity"} & {*s} for s in page.all("script"))
    images = page.all("img")
    assert len(images) == 2 * 3
    assert all(i["src"].startswith("data:image/svg+xml;base64,") and i["alt"] for i in images)
    assert len(page.all("caption")) == len(page.all("table")) > 6
    assert all(cell.get("scope") in ("row", "col") for cell in page.all("th"))
    assert str(made) not in text


def test_page_gives_verdicts_with_n_and_provenance(made):
    words = " ".join(" ".join(Page((made / "report.html").read_text()).text).split())
    effects = pd.read_csv(made / "effects.csv")
    best = effects[(effects.architecture == "mlp") & (effects.verdict == "better")]
    assert len(best)
    at = ", ".join(f"{a:g}" for a in best.alpha_test)
    assert f"accuracy is better at α = {at} (" in words
    assert "n = 3 paired seeds, at least 2 draws each" in words
    together = effects[effects.kind == "together"]
    factor = together.factor.iloc[0]
    assert factor in (pytest.approx(float(t_factor(3, c))) for c in (3, 6))
    assert f"simultaneous over 3 strengths is ± {factor:.1f} standard errors" in words
    assert "2-core CPU" in words and "peak_lr" in words and "Nothing: every run" in words


@pytest.mark.slow
def test_strengths_of_one_run_alone_stand_in_curves_and_not_in_tables(folder):
    report.rebuild(folder)
    before = (folder / "effects.csv").read_bytes()
    plan = load_plan(folder)
    path = folder / "runs" / f"{plan.runs[0].run_id}.json"
    more = measure(plan.runs[0], [(1.7, 0, 1), (1.7, 1, 1)], plan.sweep.settings)
    records.save(path, records.add(records.load(path), plan.sweep.settings, more))
    report.rebuild(folder)
    assert (folder / "effects.csv").read_bytes() == before
    text = (folder / "report.md").read_text()
    assert "not in tables and verdicts: mlp 1.7." in text and "\n| 1.7 |" not in text
    assert ",1.7," in (folder / "sweep.csv").read_text()


def test_what_is_not_normal_is_flagged_and_marked(tmp_path):
    folder = make_results(tmp_path, make_plan(("mlp",), seeds=(0, 1, 2, 3, 4), **SMALL))
    assert "To be read with care" not in rebuilt(folder)
    plan = load_plan(folder)
    for run in plan.runs[:1]:  # one seed at chance
        path = folder / "runs" / f"{run.run_id}.json"
        record = records.load(path)
        for row in record["measurements"][0]["rows"]:
            row[3] = 1000
        path.unlink()
        records.save(path, record)
    text = rebuilt(folder)
    assert "To be read with care" in text and "a collapsed seed | training |" in text
    assert text.count("†") > 4 and "5 seeds without one leave a probability of up to 45%" in text
    assert "†" in (folder / "report.html").read_text()
    assert pd.read_csv(folder / "effects.csv")["flags"].notna().all()


def rebuilt(folder: Path) -> str:
    """Return the Markdown report of a folder, made anew."""
    report.rebuild(folder)
    return (folder / "report.md").read_text()


def test_a_regime_more_shares_the_error(tmp_path, monkeypatch):
    monkeypatch.setitem(REGIMES, "half", Regime("injection", noise=0.5))
    regimes = ("clean", "noisy", "half")
    folder = make_results(tmp_path, make_plan(("mlp",), regimes, **SMALL))
    text = report.rebuild(folder).text
    lines = [line for line in text.splitlines() if ": cost " in line]
    assert [line.split(":")[0] for line in lines] == ["mlp noisy", "mlp half"]
    assert set(pd.read_csv(folder / "endpoints.csv").comparisons) == {4}


@pytest.mark.parametrize(
    ("some", "words"),
    [
        ([0.1], "α = 0.1"),
        ([0.1, 0.2], "α = 0.1, 0.2"),
        ([0.1, 0.2, 0.5], "α = 0.1 to 0.5"),
        ([0.1, 0.5, 1, 2], "α = 0.1, 0.5 to 2"),
        ([0.1, 0.2, 0.5, 1, 2], "every α from 0.1 to 2"),
    ],
)
def test_neighbouring_strengths_are_said_as_a_range(some, words):
    every = pd.DataFrame({"alpha": [0.1, 0.2, 0.5, 1.0, 2.0]})
    assert say_alphas(pd.DataFrame({"alpha": some}), every) == words


def test_verdict_of_an_architecture_without_pairs_is_not_made_up(tmp_path):
    make_results(tmp_path, make_plan(**SMALL), PARTIAL["one regime"])
    report.rebuild(tmp_path)
    text = (tmp_path / "report.md").read_text().split("± is the half-width")[0]
    assert text.count("o paired runs yet.") == 2 * 2
    assert not any(word in text for word in ("better", "worse", "unresolved"))


def test_markdown_and_latex_hold_the_main_table(made):
    effects = pd.read_csv(made / "effects.csv")
    counts = effects.verdict.value_counts()
    markdown = (made / "report.md").read_text().split("## What it would take")[0]
    latex = (made / "table-full.tex").read_text()
    for word, number in counts.items():
        assert latex.count(f"& {word}") == number
        assert markdown.count(f"| {word}") == number
    body = [line for line in markdown.splitlines() if line.startswith("|")]
    widths = {line.count("|") for line in body}
    assert len(widths) == 2  # the main table's and the metrics'
    rows = [line for line in latex.splitlines() if "&" in line]
    assert len(rows) == 1 + len(effects) and len({line.count("&") for line in rows}) == 1
    assert all(line.endswith(r"\\") for line in rows)
    assert latex.isascii() and latex.count("{") == latex.count("}")
    assert all(command in latex for command in (r"\toprule", r"\midrule", r"\bottomrule"))


def test_main_table_agrees_with_the_statistics(made):
    rows = read(made).rows
    table = accuracy.section(read(made)).by_architecture["cnn"]
    means = intervals.mean_accuracy(rows).set_index(["architecture", "regime", "alpha"])
    line = next(row for row in table.body if row[0] == "0.5")
    for column, regime in ((1, "clean"), (2, "noisy")):
        found = means.loc["cnn", regime, 0.5]
        assert line[column] == f"{found['mean']:.4f} ± {found.half:.4f}"
        assert line[column + 4] == f"{100 * found['drop']:.2f}"
        assert line[column + 6] == f"{found.retention:.3f}"
    assert line[9:] == ["3 / 3 / 3", "2 / 2"]


@pytest.mark.parametrize(
    ("regimes", "effect", "columns"),
    [
        (("clean", "noisy"), "Effect: noisy − clean accuracy", 11),
        (("clean", "half"), "Effect: half − clean accuracy", 11),
        (("clean", "noisy", "half"), "Effect: noisy or half − clean accuracy", 12),
        (("half",), "± is the half-width", 6),
        (("clean",), "± is the half-width", 6),
        (("noisy", "half"), "± is the half-width", 7),
    ],
)
def test_the_page_speaks_of_the_regimes_that_there_are(
    tmp_path, monkeypatch, regimes, effect, columns
):
    monkeypatch.setitem(REGIMES, "half", Regime("injection", noise=0.5))
    make_results(tmp_path, make_plan(("mlp",), regimes, alphas=(0.0, 0.5), draws=2))
    results = read(tmp_path)
    sections = pages.make_sections(results, pages.SECTIONS)
    text = pages.make_pages(results, sections, [])["report.md"].decode()
    assert f"\n{effect}" in text
    assert "1 strengths" not in text
    assert ("1 strength is" in text) == ("clean" in regimes and len(regimes) == 2)
    table = sections["accuracy"].by_architecture["mlp"]
    assert len(table.header) == columns and all(len(row) == columns for row in table.body)
    assert NONE not in {cell for row in table.body for cell in row}
    metrics = sections["metrics"].by_architecture["mlp"].header
    assert ("against clean" in " ".join(metrics)) == ("clean" in regimes and len(regimes) > 1)
    for regime in regimes:
        assert any(regime in cell for line in (table.header, *table.body) for cell in line)


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [(-0.00001, ".4f", "0.0000"), (-0.001, "+.2f", "+0.00"), (-0.006, "+z.2f", "-0.01")],
)
def test_nothing_is_minus_zero(value, form, text):
    assert with_half({"x": value, "half": 0.5}, "x", 1, form).split(" ± ")[0] == text


@pytest.mark.parametrize(
    ("row", "log", "signed", "text"),
    [
        ((1.5, 1.5, 1.2, 1.9), True, False, "1.5 [1.2, 1.9] (n = 3)"),
        ((2.0, np.inf, 0.0, np.inf), True, False, "> 2 (n = 3, 2 censored)"),
        ((1.8, np.inf, 1.1, np.inf), True, False, "> 1.8 [1.1, –] (n = 3, 2 censored)"),
        ((0.0, 0.01, 0.0, 0.02), True, False, "< 0.01 [–, 0.02] (n = 3, 2 censored)"),
        ((0.0, np.inf, 0.0, np.inf), True, False, "not known (n = 3, 2 censored)"),
        ((-0.1, -0.1, -0.3, 0.1), False, True, "-0.1 [-0.3, +0.1] (n = 3)"),
        ((0.1, 0.1, -np.inf, np.inf), False, True, "+0.1 (n = 3)"),
    ],
)
def test_censored_values_are_written_as_such(row, log, signed, text):
    censored = 2 if row[0] != row[1] else 0
    names = ("mean_low", "mean_high", "low", "high")
    found = {"seeds": 3, "censored": censored, **dict(zip(names, row, strict=True))}
    assert bounds(found, log, signed) == text


# --- figures ------------------------------------------------------------------------------------


def test_curves_show_every_seed_and_the_mean(made):
    rows = read(made).rows
    figure = accuracy.section(read(made)).charts["robustness"].panels(["mlp", "cnn"])
    assert [axes.get_title() for axes in figure.axes] == [
        "mlp, 2 draws per seed and α",
        "cnn, 2 draws per seed and α",
    ]
    axes = figure.axes[0]
    assert axes.get_xscale() == "function" and axes.get_xticklabels()[0].get_text() == "0"
    lines = {line.get_label(): line for line in axes.lines}
    mean = lines["noisy (mean, n = 3 seeds)"]
    expected = intervals.mean_accuracy(rows).set_index(["architecture", "regime", "alpha"])["mean"]
    expected = expected["mlp", "noisy"].drop(0.0)
    np.testing.assert_allclose(mean.get_ydata(), expected)
    np.testing.assert_allclose(mean.get_xdata(), expected.index)
    faint = [line for line in axes.lines if line.get_alpha() == 0.4 and len(line.get_xdata()) == 3]
    assert len(faint) == 2 * 3


def test_regimes_differ_without_colour():
    registered = plots.looks(pd.Series(["noisy", "clean"], dtype="category"))
    found = plots.looks(pd.Series(["another", "clean"], dtype="category"))
    assert list(found) == [*registered, "another"]
    assert all(found[name] == look for name, look in registered.items())
    for looks in (registered, found):
        drawn = {(look["linestyle"], look["marker"]) for look in looks.values()}
        assert len(drawn) == len(looks) <= 24


def test_a_regime_that_is_not_registered_is_drawn(made):
    results = read(made)
    names = {"clean": "clean", "noisy": "another"}
    renamed = results.rows.assign(regime=results.rows.regime.cat.rename_categories(names))
    section = accuracy.section(replace(results, rows=renamed))
    (axes,) = section.charts["robustness"].panels(["mlp"]).axes
    assert "another (mean, n = 3 seeds)" in {line.get_label() for line in axes.lines}


@pytest.mark.slow
def test_a_further_section_is_one_function_more(folder, monkeypatch):
    def section(results) -> Section:
        def draw(axes, rows):
            axes.plot(rows.alpha, rows.correct)

        chart = Chart("More of it", draw, (results.rows,), results.architectures)
        return Section(
            "more",
            "And more?",
            intro="What <this> is.",
            brief="In short.",
            sentences={"mlp": ["One.", "Two."]},
            tables=[Table("A caption", ["Name", "Value"], [["first", "1"]])],
            charts={"more": chart, "again": chart},
            csv={"more.csv": results.rows},
        )

    report.rebuild(folder)
    before = contents(folder)
    monkeypatch.setattr(pages, "SECTIONS", (*pages.SECTIONS, section))
    report.rebuild(folder)
    after = contents(folder)
    drawn = {f"{name}.{kind}" for name in ("more", "again") for kind in ("pdf", "png")}
    assert set(after) - set(before) == {"more.csv", *drawn}
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"report.html", "report.md"}
    html, markdown = after["report.html"].decode(), after["report.md"].decode()
    page, old = Page(html), Page(before["report.html"].decode())
    assert page.open == [] and len(page.all("img")) == len(old.all("img")) + 2 * 2
    for words in ("And more?", "What <this> is.", "One. Two.", "mlp: More of it.", "A caption"):
        assert words in page.text
    assert (
        "\n## And more?\n\nIn short.\n\nmlp: One. Two.\n\n\n![More of it](more.png)\n"
        "\n![More of it](again.png)\n\n*A caption*\n\n| Name | Value |\n"
    ) in markdown


def test_resolved_effects_are_filled(made):
    rows = read(made).rows
    (axes,) = accuracy.section(read(made)).charts["effects"].panels(["mlp"]).axes
    effects = intervals.paired_effects(rows[rows.architecture == "mlp"])
    fills = {}
    for container in axes.containers:
        line = container.lines[0]
        fills.setdefault(line.get_markerfacecolor() != "white", []).extend(line.get_ydata())
    for resolved, part in effects.groupby(effects.verdict.isin(RESOLVED)):
        np.testing.assert_allclose(sorted(fills[resolved]), sorted(100 * part.effect))


# --- merging ------------------------------------------------------------------------------------


def part(folder: Path, keep, **changes) -> Path:
    """Return a results folder of the small plan that holds only what `keep` says."""
    return make_results(folder, make_plan(**{**SMALL, **changes}), keep)


@pytest.mark.slow
def test_parts_from_two_machines_make_the_whole(folder, tmp_path):
    one = part(tmp_path / "one", lambda run, point: run.architecture == "mlp")
    two = part(tmp_path / "two", lambda run, point: run.architecture == "cnn")
    run = run_report("--results-dir", one, "--merge", two)
    assert run.returncode == 0, run.stderr
    report.rebuild(folder)
    assert contents(one) == contents(folder)
    assert set(contents(two)) & WRITTEN == set()


def test_measurements_of_one_run_add_up(folder, tmp_path):
    one = part(tmp_path / "one", lambda run, point: point[1] == 0)
    two = part(tmp_path / "two", lambda run, point: point[1] == 1 or point[0] == 0)
    assert merge_results(one, [two]) == Merged()
    report.rebuild(one, everything=False)
    report.rebuild(folder, everything=False)
    assert contents(one) == contents(folder)


def test_merging_again_changes_nothing(folder, tmp_path):
    target = tmp_path / "new"
    merge_results(target, [folder])
    before = contents(target)
    stamps = {p: p.stat().st_mtime_ns for p in (target / "runs").iterdir()}
    merge_results(target, [folder, folder])
    assert contents(target) == before
    assert {p: p.stat().st_mtime_ns for p in (target / "runs").iterdir()} == stamps


def test_a_folder_without_a_plan_takes_the_other_ones(folder, tmp_path):
    merge_results(tmp_path / "new", [folder])
    assert load_plan(tmp_path / "new") == load_plan(folder)
    assert report.rebuild(tmp_path / "new", everything=False).missing == []


def test_plans_of_one_recipe_are_joined(tmp_path):
    one = make_results(tmp_path / "one", make_plan(("mlp",), **SMALL))
    two = make_results(tmp_path / "two", make_plan(("cnn",), **SMALL), PARTIAL["one seed"])
    merge_results(one, [two])
    assert load_plan(one).architectures == ("mlp", "cnn")
    assert (
        len(report.rebuild(one, everything=False).missing) == 4
    )  # the other machine's runs are asked for too


def test_another_recipe_is_taken_but_keeps_out_of_the_tables(folder, tmp_path):
    other = replace(make_plan(("mlp",), **SMALL), recipe=Recipe(epochs=9))
    make_results(tmp_path / "other", other)
    before = report.rebuild(folder, everything=False)
    merge_results(folder, [tmp_path / "other"])
    after = report.rebuild(folder, everything=False)
    pd.testing.assert_frame_equal(after.summary, before.summary)
    assert len(after.left_out) == 6 and load_plan(folder) == make_plan(**SMALL)


def contradicting(folder: Path, what: str) -> Path:
    """Change a number of a record, or its weights; return its file."""
    run = load_plan(folder).runs[5]
    path = folder / "runs" / f"{run.run_id}.json"
    record = records.load(path)
    if what == "weights":
        record["weights"] = "others"
    else:
        record["measurements"][0]["rows"][3][3] -= 1
    path.unlink()
    records.save(path, record)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("what", ["measurement", "weights"])
def test_what_agrees_is_taken_and_conflicts_are_named(folder, tmp_path, what):
    target, new = tmp_path / "target", tmp_path / "new"
    shutil.copytree(folder, target)
    path = contradicting(folder, what)
    mine = target / "runs" / path.name
    before = mine.read_bytes()
    make_results(new, make_plan(("vit",), **SMALL))  # agrees, before and behind the conflict
    result = run_report("--results-dir", target, "--merge", folder, new)
    named, how = result.stderr.splitlines()
    assert result.returncode == 1 and path.stem in named and "--prefer" in how
    assert ("in weights" if what == "weights" else "differ at α = ") in named
    assert mine.read_bytes() == before
    assert len([*(target / "runs").glob("vit-*")]) == len(load_plan(new).runs)
    assert (target / "report.html").exists() and "vit" in result.stdout

    result = run_report("--results-dir", target, "--merge", folder, "--prefer", "mine")
    assert (result.returncode, result.stderr, mine.read_bytes()) == (0, "", before)

    result = run_report("--results-dir", target, "--merge", folder, "--prefer", "theirs")
    assert (result.returncode, result.stderr) == (0, "")
    assert mine.read_bytes() == path.read_bytes()
    replaced = mine.with_name(f"{mine.name}.replaced")
    assert replaced.exists() == (what == "weights")
    assert what != "weights" or replaced.read_bytes() == before


def test_an_interrupted_report_ends_in_a_line(folder, monkeypatch, capsys):
    def stop(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(report, "rebuild", stop)
    monkeypatch.setattr("sys.argv", ["report.py", str(folder)])
    assert report.main() == 130
    assert capsys.readouterr().err.startswith("report.py: interrupted;")


def test_a_preference_without_a_merge_is_refused(folder):
    result = run_report("--results-dir", folder, "--prefer", "mine")
    assert result.returncode == 2 and result.stderr.startswith("report.py: --prefer: ")


def test_a_foreign_file_in_the_way_is_named_and_left(folder, tmp_path):
    target = tmp_path / "target"
    shutil.copytree(folder, target)
    first, *_ = sorted((target / "runs").iterdir())
    first.write_text("{}")
    merged = merge_results(target, [folder])
    assert len(merged.conflicts) == 1 and first.name in merged.conflicts[0]
    assert first.read_text() == "{}"


def test_damaged_records_are_not_taken_and_are_named(folder, tmp_path):
    broken = sorted((folder / "runs").iterdir())[0]
    broken.write_bytes(broken.read_bytes()[:-20])
    result = run_report("--results-dir", tmp_path / "new", "--merge", folder)
    assert result.returncode == 0 and "Not merged (1):" in result.stdout
    assert result.stdout.count(broken.name) == 1
    assert not (tmp_path / "new" / "runs" / broken.name).exists()


def test_a_damaged_record_of_ours_is_replaced_and_kept_aside(folder, tmp_path):
    target = tmp_path / "target"
    shutil.copytree(folder, target)
    mine = sorted((target / "runs").iterdir())[0]
    good = mine.read_bytes()
    mine.write_bytes(good[:-20])
    merge_results(target, [folder])
    assert mine.read_bytes() == good
    assert mine.with_name(mine.name + ".corrupt").exists()


@pytest.mark.slow
def test_two_folders_are_refused_and_one_may_be_said_twice(folder, tmp_path):
    before = contents(folder)
    run = run_report(folder, "--results-dir", tmp_path / "other")
    assert (run.returncode, run.stdout) == (2, "") and run.stderr.count("\n") == 1
    assert "--results-dir: takes one folder" in run.stderr
    assert contents(folder) == before
    assert run_report(folder, "--results-dir", folder).returncode == 0


def test_what_cannot_be_merged_is_refused(folder, tmp_path):
    with pytest.raises(NotResults, match="--merge"):
        merge_results(folder, [tmp_path / "nowhere"])
    (tmp_path / "bare" / "runs").mkdir(parents=True)
    with pytest.raises(NotResults, match=r"no plan\.json"):
        merge_results(tmp_path / "new", [tmp_path / "bare"])
    (tmp_path / "bare" / "plan.json").write_text("{")
    before = contents(folder)
    with pytest.raises(Damaged):
        merge_results(folder, [tmp_path / "bare"])
    assert contents(folder) == before
    for others in ([], [""], [tmp_path / "nowhere"]):
        result = run_report("--results-dir", folder, "--merge", *others)
        assert result.returncode == 2 and len(result.stderr.splitlines()) == 1
        assert "report.py: --merge: " in result.stderr
    assert contents(folder) == before


# ---- Names that mean something elsewhere ---------------------------------------------------------

HOSTILE = {
    "<script>alert(1)</script>": ("&lt;script>alert(1)&lt;/script>", r"$<$script$>$alert(1)"),
    "a^^5cb~c": ("a^^5cb~c", r"a\textasciicircum{}\textasciicircum{}5cb\textasciitilde{}c"),
    r"$\frac$": (r"\$\frac\$", r"\$\textbackslash{}frac\$"),
    "[x](javascript:y)": (r"[x\](javascript:y)", "{}[x](javascript:y)"),
    "a|b": (r"a\|b", "a|b"),
    "*a* _b_ c_d `e`": (r"\*a\* \_b\_ c_d \`e\`", r"{}*a* \_b\_ c\_d `e`"),
    "a\n\n# b": ("a  # b", r"a  \# b"),
    "# a": (r"\# a", r"\# a"),
    r"\* &lt; &": (r"\\\* &amp;lt; &", r"\textbackslash{}* \&lt; \&"),
    "0.5 < 0.7 [0.1, 0.2] (n = 3)": ("0.5 < 0.7 [0.1, 0.2] (n = 3)", None),
}


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_and_latex_show_text_as_it_is(text):
    as_markdown, as_latex = HOSTILE[text]
    assert pages.markdown(text) == as_markdown
    assert as_latex is None or pages.latex(text).startswith(as_latex)


def test_hostile_names_go_into_no_page_as_they_are(tmp_path):
    names = ("<script>alert(1)</script>", "^^5cinput{x}", r"$\frac$ | **[a](b)**")
    plan = make_plan(names, **SMALL)
    make_results(tmp_path, plan, lambda run, point: run.architecture != names[0])
    results = report.read(tmp_path)
    record = records.new(plan.runs[0], "weights", [0.1], {"torch": "<script>"})
    settings = plan.sweep.settings
    rows = measure(plan.runs[0], plan.sweep.points, settings)
    results = replace(results, records=[*results.records, records.add(record, settings, rows)])
    sections = pages.make_sections(results, pages.SECTIONS)
    found = pages.make_pages(results, sections, ["<script>alert(1)</script>", "a\n# b"])
    for name, page in found.items():
        assert b"<script>alert" not in page, name
    for name in ("table.tex", "table-full.tex"):
        assert b"^^" not in found[name] and rb"\frac" not in found[name]
    assert b"**[a](b)" not in found["report.md"] and b"\n# b" not in found["report.md"]
    assert all(pages.make_figures(sections).values())  # their titles are no mathematics


def test_a_long_list_of_what_is_missing_is_cut_on_the_terminal_and_whole_in_the_page(tmp_path):
    plan = make_plan(seeds=tuple(range(9)))
    make_results(tmp_path, plan, keep=lambda run, point: run == plan.runs[0])
    found = report.rebuild(tmp_path)
    lacking = len(plan.runs) - 1
    assert len(found.missing) == lacking > report.SHOWN
    assert f"and {lacking - report.SHOWN} more, in report.md" in found.text
    page = (tmp_path / "report.md").read_text()
    assert all(run.run_id in page for run in plan.runs[1:])


@pytest.mark.slow
@pytest.mark.parametrize("number", range(12))
def test_a_folder_of_which_any_part_is_missing_has_every_section(tmp_path, number):
    """As kills, failures and parts on other machines leave them."""
    stream = random.Random(number)
    regimes = tuple(stream.sample(["clean", "noisy", "sam", "ema"], stream.randint(1, 4)))
    noise = stream.choice([(), ("pcm:60.0,3600.0",), ("multiplicative:0.1,0.5", "pcm:60.0")])
    plan = make_plan(("mlp", "cnn"), regimes, tuple(range(stream.randint(1, 4))), noise=noise)
    save_plan(tmp_path, plan)
    for run in plan.runs:
        record = records.new(run, run.run_id, [0.3], {})
        points = {"gaussian": plan.sweep.points}
        for name, strengths in plan.sweep.families.items():
            points[name] = [(0.0, 0, 1), *((a, k, 1) for k in range(5) for a in strengths)]
        for name, whole in points.items():
            if some := whole[: round(len(whole) * stream.choice([0, 0.02, 0.5, 1, 1]))]:
                settings = plan.sweep.settings_of(name)
                record = records.add(record, settings, measure(run, some, settings))
        if stream.random() < 0.9:
            records.save(tmp_path / "runs" / f"{run.run_id}.json", record)
    sections = pages.make_sections(read(tmp_path), pages.SECTIONS)
    assert {*sections} >= {"summary", "accuracy", "endpoints"}
