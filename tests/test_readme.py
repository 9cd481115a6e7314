"""README says what the committed reference says, and its commands and code work."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import report
from conftest import ROOT
from models import DEFAULT_ARCHITECTURES

README = (ROOT / "README.md").read_text()
REFERENCE = ROOT / "results" / "reference"
SHOWN = (0.0, 0.1, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0)
FLOORS = {"mlp": 0.980, "cnn": 0.9917, "resnet18": 0.990, "vit": 0.970}


def between(mark: str) -> str:
    """Return the part of README between `<!-- mark -->` and `<!-- /mark -->`."""
    return re.search(f"<!-- {mark} -->(.*?)<!-- /{mark} -->", README, re.DOTALL)[1].strip()


def make_table(sweep: pd.DataFrame) -> str:
    """Return README's table: accuracies in percent, draws averaged inside a seed."""
    seeds = sweep.groupby(["architecture", "regime", "alpha_test", "seed"]).accuracy.mean()
    means = seeds.groupby(["architecture", "regime", "alpha_test"]).mean() * 100
    lines = ["| α = | " + " | ".join(f"{a:g}" for a in SHOWN) + " |"]
    lines.append("|---|" + "---|" * len(SHOWN))
    for name in DEFAULT_ARCHITECTURES:
        cells = [f"{means[name, 'clean', a]:.1f} → {means[name, 'noisy', a]:.1f}" for a in SHOWN]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


@pytest.fixture(scope="module")
def sweep() -> pd.DataFrame:
    return pd.read_csv(REFERENCE / "sweep.csv")


def test_the_table_is_that_of_the_reference(sweep):
    assert between("table") == make_table(sweep)


def test_the_answer_is_that_of_the_reference():
    report_text = (REFERENCE / "report.md").read_text()
    verdicts = [line for line in report_text.splitlines() if line.startswith("- **")]
    assert len(verdicts) == len(DEFAULT_ARCHITECTURES)
    assert between("answer") == "\n".join(verdicts)


def test_the_time_is_that_of_the_reference_run():
    log = (REFERENCE / "log.txt").read_text()
    minutes = float(re.search(r"^([\d.]+) min; ", log, re.MULTILINE)[1])
    assert between("minutes").startswith(f"{minutes:.0f} minutes on ")


def test_the_reference_is_whole_and_its_tables_follow_from_its_records(tmp_path):
    copy = tmp_path / "reference"
    shutil.copytree(REFERENCE, copy)
    for name in ("summary.csv", "sweep.csv", "effects.csv", "curves.csv"):
        (copy / name).unlink()
    rebuilt = report.rebuild(copy)
    assert not rebuilt.missing
    assert not rebuilt.left_out
    for name in ("summary.csv", "sweep.csv"):
        assert (copy / name).read_bytes() == (REFERENCE / name).read_bytes()
    for name in ("effects.csv", "curves.csv"):
        a, b = pd.read_csv(copy / name), pd.read_csv(REFERENCE / name)
        pd.testing.assert_frame_equal(a, b, rtol=1e-9)


def test_the_reference_reaches_the_accuracies_asked_for(sweep):
    clean = sweep[(sweep.regime == "clean") & (sweep.alpha_test == 0)]
    means = clean.groupby("architecture").accuracy.mean()
    assert clean.groupby("architecture").seed.nunique().min() >= 3
    for name, floor in FLOORS.items():
        assert means[name] >= floor


def test_the_reference_names_no_machine_and_no_path():
    for path in REFERENCE.rglob("*"):
        if path.suffix in (".json", ".csv", ".md", ".txt", ".html", ".tex"):
            text = path.read_text()
            assert "/root" not in text
            assert "/tmp" not in text
            assert "/home" not in text


def test_the_training_strength_is_the_pilots_choice():
    from config import Recipe

    table = pd.read_csv(REFERENCE / "pilot.csv", index_col="alpha_train")
    assert table["mean"].drop(0.0, errors="ignore").idxmax() == Recipe().alpha_train


def test_the_code_for_a_model_of_ones_own_runs(tmp_path):
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
    line = [sys.executable, "-c", code]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "['0.weight', '2.weight']\n"


def test_every_module_is_in_the_list():
    for path in ROOT.glob("*.py"):
        assert f"`{path.name}`" in README, path.name


def test_every_file_that_is_named_is_there():
    for name in re.findall(r"\]\(([^)#]+)\)", README):
        if "://" not in name:
            assert (ROOT / name).exists(), name
    for name in re.findall(r"`(test_\w+\.py)`", README):
        assert Path(ROOT / "tests" / name).exists(), name
