"""README says what the committed files say, and its code works."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import report
from analysis.intervals import paired_effects
from config import Recipe
from conftest import ROOT
from models import DEFAULT_ARCHITECTURES
from noises import FAMILIES
from reporting import columns, protection
from reporting.results import find_missing, read
from store.plan_file import load_plan
from studies import readme

README = (ROOT / "README.md").read_text()
REFERENCE = ROOT / "results" / "reference"
PROTECTION = ROOT / "results" / "protection"
FLOORS = {"mlp": 0.980, "cnn": 0.9917, "resnet18": 0.990, "vit": 0.970}


@pytest.fixture(scope="module")
def sweep() -> pd.DataFrame:
    return pd.read_csv(REFERENCE / "sweep.csv")


@pytest.mark.parametrize("path", readme.PAGES, ids=lambda path: path.name)
def test_numbers_are_those_of_the_committed_files(path):
    assert readme.filled(path.read_text()) == path.read_text()  # python -m studies.readme


def test_every_part_stands_on_a_page():
    marks = [m for path in readme.PAGES for m in re.findall(r"<!-- (\w+) -->", path.read_text())]
    assert {*marks} == {*readme.PARTS}


def test_the_answer_is_that_of_the_reference():
    seeds = set(pd.read_csv(REFERENCE / "summary.csv").seed)
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    assert f"intervals over {words[len(seeds)]} seeds" in README
    lines = readme.strengths().splitlines()
    starts = [f"- {name}: Trained noisy " for name in DEFAULT_ARCHITECTURES]
    assert [line.startswith(start) for line, start in zip(lines, starts, strict=True)] == [True] * 4
    assert readme.flatness().count("\n") == len(DEFAULT_ARCHITECTURES) - 1
    found = pd.read_csv(REFERENCE / "endpoints.csv").set_index(["architecture", "endpoint"])
    for line in readme.answer().splitlines()[2:]:
        name, cost, tolerance, words = (cell.strip() for cell in line.strip("|").split("|"))
        row = found.loc[name, "cost"]
        numbers = [float(word) for word in re.findall(r"-?[\d.]+", cost)]
        assert numbers == pytest.approx([row.value_low, row.low, row.high], abs=0.006)
        assert readme.COST[row.verdict] in words
        row = found.loc[name, "tolerance"]
        assert readme.TOLERANCE[row.verdict] in words
        if row.value_low:
            assert float(re.search(r"× ([\d.]+)", tolerance)[1]) == pytest.approx(
                row.value_low, abs=0.006
            )


def test_the_quick_start_is_the_command_whose_output_is_shown():
    log = (REFERENCE / "quick.txt").read_text().splitlines()
    command, end = log[2].removeprefix("$ "), log[-1]
    assert f"\n{command}\n" in README.split("## The answer")[0]
    assert float(re.fullmatch(r"([\d.]+) min; .*", end)[1]) < 2.5  # "two minutes", when measured


def test_readme_is_one_page():
    assert len(README.split()) <= 1200
    assert "```bash" in "\n".join(README.splitlines()[:40])


def test_the_reference_is_whole_and_its_tables_follow_from_its_records(tmp_path):
    copy = tmp_path / "reference"
    shutil.copytree(REFERENCE, copy)
    for name in ("summary.csv", "sweep.csv", "endpoints.csv", "effects.csv", "curves.csv"):
        (copy / name).unlink()
    rebuilt = report.rebuild(copy)
    assert not rebuilt.missing and not rebuilt.left_out
    assert (copy / "report.html").stat().st_size < 3_000_000
    for name in ("summary.csv", "sweep.csv"):
        assert (copy / name).read_bytes() == (REFERENCE / name).read_bytes()
    for name in ("endpoints.csv", "effects.csv", "curves.csv"):
        a, b = pd.read_csv(copy / name), pd.read_csv(REFERENCE / name)
        pd.testing.assert_frame_equal(a, b, rtol=1e-9)


def test_the_study_of_protection_is_whole_and_follows_from_its_records():
    found = read(PROTECTION)
    assert not find_missing(found.plan, found.records) and not found.left_out
    made = protection.section(found).csv["protection.csv"]
    made = made.astype({"architecture": str, "regime": str})
    committed = pd.read_csv(PROTECTION / "protection.csv")
    pd.testing.assert_frame_equal(columns.named(made), committed, rtol=1e-9, check_dtype=False)
    seeds = {name: groups for name, groups in found.plan.looks}
    six = ((0, 1, 2, 3, 4, 5),)
    assert seeds == {"mlp": six, "cnn": six, "resnet18": ((0, 1, 2),)}
    of_all = committed[committed.architecture != "resnet18"].groupby("architecture").noise.agg(set)
    assert [*of_all] == [set(FAMILIES)] * 2
    assert len(commits(PROTECTION)) == 1


def test_what_is_said_of_neighbours_and_of_single_seeds_holds():
    found = read(PROTECTION)
    at = protection.section(found).csv["protection.csv"].set_index(["noise", "architecture"])
    said = (ROOT / "docs" / "noise.md").read_text().split("a gain stays at the")[1]
    stays, hangs = (re.findall(r"`(\w+(?:\+\w+)?)`", part) for part in said.split("the MLP's")[:2])
    hangs = [name for name in hangs if name in FAMILIES][:4]
    assert len(stays) == 3 and len(hangs) == 4
    for noise in (*stays, *hangs):
        rows = found.rows if noise == "gaussian" else found.families[noise]
        for name in ("mlp", "cnn") if noise in stays else ("mlp",):
            mine, strength = rows[rows.architecture == name], at.loc[(noise, name), "strength"]
            words = paired_effects(mine).set_index("alpha").verdict
            left = []
            for seed in range(6):
                effects = paired_effects(mine[mine.seed != seed]).set_index("alpha")
                left.append(effects.verdict[strength])
            if noise in hangs:
                assert "unresolved" in left, noise
                continue
            place = words.index.get_loc(strength)
            assert {*words.iloc[place - 1 : place + 2]} == {"better"} == {*left}, (noise, name)


def commits(folder: Path) -> set[str]:
    """Return the commits by which the runs of a folder were trained and measured."""
    found = [
        json.loads(path.read_text())["provenance"] for path in (folder / "runs").glob("*.json")
    ]
    return {facts["commit"] for provenance in found for facts in provenance.values()}


def test_the_reference_is_of_one_commit(tmp_path):
    (commit,) = commits(REFERENCE)
    assert re.fullmatch("[0-9a-f]{12}", commit)  # and not of a tree that was changed
    shutil.copytree(REFERENCE, tmp_path / "copy")
    path = next((tmp_path / "copy" / "runs").glob("*.json"))
    record = json.loads(path.read_text())
    record["provenance"]["measuring"]["commit"] = "0" * 12
    path.write_text(json.dumps(record))
    assert len(commits(tmp_path / "copy")) == 2


def test_the_seeds_of_the_reference_were_fixed_before_the_first_run():
    looks = load_plan(REFERENCE).looks
    assert {name: groups for name, groups in looks} == {
        name: ((0, 1, 2, 3, 4, 5),) for name in DEFAULT_ARCHITECTURES
    }


def test_the_report_on_flatness_follows_from_its_records(tmp_path):
    copy = tmp_path / "reference"
    shutil.copytree(REFERENCE, copy)
    for name in ("curvature.csv", "flatness.csv"):
        (copy / name).unlink()
    report.rebuild(copy)
    for name in ("curvature.csv", "flatness.csv"):
        a, b = (pd.read_csv(folder / name) for folder in (copy, REFERENCE))
        pd.testing.assert_frame_equal(a, b, rtol=1e-9)


def test_the_reference_reaches_the_accuracies_asked_for(sweep):
    clean = sweep[(sweep.regime == "clean") & (sweep.alpha_test == 0)]
    means = clean.groupby("architecture").accuracy.mean()
    assert clean.groupby("architecture").seed.nunique().min() >= 3
    for name, floor in FLOORS.items():
        assert means[name] >= floor


@pytest.mark.parametrize("folder", ["reference", "protection", "bench", "transfer"])
def test_what_is_committed_names_no_machine_and_no_path(folder):
    for path in (ROOT / "results" / folder).rglob("*"):
        if path.suffix in (".json", ".csv", ".md", ".txt", ".html", ".tex"):
            text = path.read_text()
            assert "/root" not in text
            assert "/tmp" not in text
            assert "/home" not in text


def test_the_training_strength_is_the_pilots_choice():

    table = pd.read_csv(REFERENCE / "pilot.csv", index_col="alpha_train")
    assert table["mean"].drop(0.0, errors="ignore").idxmax() == Recipe().alpha_train


def test_the_code_for_a_model_of_ones_own_runs(tmp_path):
    page = (ROOT / "docs" / "noise.md").read_text()
    code = re.search(r"```python\n(.*?)```", page, re.DOTALL)[1]
    line = [sys.executable, "-c", code]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "['0.weight', '2.weight']\n"


@pytest.mark.slow
def test_the_script_of_ones_own_runs(tmp_path, data_dir, mnist):
    """As written, but for the place of the repository and the folder of the data."""
    part = (ROOT / "docs" / "extending.md").read_text()
    code = re.search(r"```python\n(.*?)```", part, re.DOTALL)[1]
    assert code.count("path/to/this/repository") == 1
    (tmp_path / "mine.py").write_text(code.replace("path/to/this/repository", str(ROOT)))
    (tmp_path / "data").symlink_to(data_dir)
    small = "--seeds 0 --epochs 1 --train-size 128 --test-size 100 --alphas 0 0.5 --draws 1"
    lines = re.search(r"```bash\n(.*?)```", part, re.DOTALL)[1].splitlines()
    assert len(lines) == 3
    printed = []
    for line, more in zip(lines, (f"{small} --device cpu", "", "--draws 1"), strict=True):
        words = [*shlex.split(line, comments=True), *more.split()]
        assert words[0] == "python"
        run = [sys.executable, *words[1:]]
        done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout)
    sweep = pd.read_csv(tmp_path / "results" / "sweep.csv")
    assert set(sweep.noise) == {"gaussian", "lost"} and set(sweep.regime) == {"clean", "half"}
    assert set(sweep[sweep.noise == "lost"].alpha_test) == {0, 0.1, 0.3}
    assert "half" in printed[1] and printed[2].count("acc@0 ") == 2


@pytest.mark.slow
def test_the_method_of_ones_own_runs(tmp_path, data_dir, mnist):
    """Put into the script as the page says."""
    page = (ROOT / "docs" / "extending.md").read_text()
    script, method = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    head, last = script.split("if __name__")
    script = f"{head}{method}\n\nif __name__{last}".replace("path/to/this/repository", str(ROOT))
    (tmp_path / "mine.py").write_text(script)
    words = f"mlp --regimes clean noisy stretched --seeds 0 1 --data-dir {data_dir}"
    small = "--budget 1 --train-size 256 --test-size 100 --alphas 0 0.5 --draws 1 --device cpu"
    command = [sys.executable, "mine.py", *words.split(), *small.split()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert "stretched (width 0.2)" in done.stdout
    page = (tmp_path / "results" / "report.md").read_text()
    (row,) = [line for line in page.splitlines() if "| mlp | stretched | width 0.2 |" in line]
    assert 0.1 < float(row.split(" | ")[5]) < 0.13  # ‖ε‖/‖w‖: width/√3
    command[-1:] = ["cpu", "--regimes", "clean", "stretched:width=-1"]
    wrong = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert wrong.returncode == 2 and "takes a width ≥ 0" in wrong.stderr


def test_every_module_is_in_the_list():
    for path in ROOT.glob("*.py"):
        assert re.search(rf"^{path.name} ", README, re.MULTILINE), path.name


@pytest.mark.parametrize("path", readme.PAGES, ids=lambda path: path.name)
def test_every_file_that_is_named_is_there(path):
    text = path.read_text()
    for name in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in name:
            assert (path.parent / name).exists(), name
    for name in re.findall(r"`(test_\w+\.py)`", text):
        assert Path(ROOT / "tests" / name).exists(), name


def test_every_page_is_linked():
    for path in readme.PAGES[1:]:
        assert f"](docs/{path.name})" in README


def test_the_version_to_cite_is_the_newest_of_the_changelog():
    cited = (ROOT / "CITATION.cff").read_text()
    version, date = re.search(r"^version: (\S+)\ndate-released: \"(\S+)\"$", cited, re.M).groups()
    newest = re.search(r"^## (\d\S*) \((\S+)\)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert newest.groups() == (version, date)
