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
from config import Recipe
from conftest import ROOT
from models import DEFAULT_ARCHITECTURES

README = (ROOT / "README.md").read_text()
REFERENCE = ROOT / "results" / "reference"
PAIRED = (REFERENCE / "flatness.csv").exists()  # the reference itself was measured in pairs
FLATNESS = REFERENCE if PAIRED else REFERENCE / "flatness"
SHOWN = (0.0, 0.1, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0)
FLOORS = {"mlp": 0.980, "cnn": 0.9917, "resnet18": 0.990, "vit": 0.970}


def between(mark: str) -> str:
    """Return the part of README between `<!-- mark -->` and `<!-- /mark -->`."""
    return re.search(f"<!-- {mark} -->(.*?)<!-- /{mark} -->", README, re.DOTALL)[1].strip()


def make_table(sweep: pd.DataFrame) -> str:
    """Return README's table: accuracies in percent, draws averaged inside a seed."""
    noisy = sweep[sweep.alpha_test > 0]
    lines = [
        f"Mean accuracy in percent over {noisy.seed.nunique()} seeds and {noisy.draw.nunique()} "
        "noise draws each, trained clean → trained with noise:",
        "",
    ]
    seeds = sweep.groupby(["architecture", "regime", "alpha_test", "seed"]).accuracy.mean()
    means = seeds.groupby(["architecture", "regime", "alpha_test"]).mean() * 100
    lines += ["| α = | " + " | ".join(f"{a:g}" for a in SHOWN) + " |"]
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
    text = (REFERENCE / "report.md").read_text().split("\nEffect: ")[0]
    lines = [line for line in text.splitlines() if line.startswith("- ")]
    for mark, form in (("answer", "- **{} noisy**: cost "), ("strengths", "- {}: Trained noisy ")):
        count = len(DEFAULT_ARCHITECTURES)
        mine, lines = lines[:count], lines[count:]
        for name, line in zip(DEFAULT_ARCHITECTURES, mine, strict=True):
            assert line.startswith(form.format(name))
        assert between(mark) == "\n".join(mine)
    assert not lines


def make_flatness() -> str:
    """Return what the committed report on curvature says of each architecture, as a list."""
    text = (FLATNESS / "report.md").read_text()
    section = text.split("## Does flatness explain it?")[1]
    said = [line for line in section.splitlines() if line.startswith(tuple(DEFAULT_ARCHITECTURES))]
    return "\n".join(f"- **{line.replace(': ', '**: ', 1)}" for line in said)


def test_what_is_said_of_flatness_is_that_of_its_report():
    assert between("flatness") == make_flatness()
    assert make_flatness().count("\n") == len(DEFAULT_ARCHITECTURES) - 1


def test_the_time_is_that_of_the_reference_run():
    log = (REFERENCE / "log.txt").read_text()
    minutes = float(re.search(r"^([\d.]+) min; ", log, re.MULTILINE)[1])
    assert between("minutes").startswith(f"{minutes:.0f} minutes on ")


def make_speed_table(body: dict) -> str:
    """Return README's table of what `benchmarks/run.py` has found."""
    lines = ["| | plain | ours | ours / plain |", "|---|---:|---:|---:|"]
    for row in body["rows"]:
        plain, ours = (f"{row[f'{side}_images_per_s']:,.0f}" for side in ("plain", "ours"))
        spread = f"{row['ratio']:.1f} ({row['ratio_min']:.1f} to {row['ratio_max']:.1f})"
        lines.append(f"| {row['architecture']}, {row['work']} | {plain} | {ours} | {spread} |")
    plain, ours = (body["whole_minutes"][" ".join(DEFAULT_ARCHITECTURES)][k] for k in WHOLE)
    lines.append(
        f"| the default 24 runs, minutes | {plain:.0f} | {ours:.0f} | {plain / ours:.1f} |"
    )
    return "\n".join(lines)


WHOLE = ("plain, 10 epochs", "ours, 4 epochs")


def test_the_speeds_are_those_of_the_benchmark():
    body = json.loads((ROOT / "benchmarks" / "results.json").read_text())
    assert between("speed") == make_speed_table(body)


def make_cost(body: dict) -> str:
    """Return what README says on the cost of a large plan."""
    ours = {name: s for name, s in body["spent"].items() if name != "stub runs"}
    hours, tasks = body["real_seconds"] / 3600, body["tasks"]
    return (
        f"{body['runs']:,} runs like the 24 above would take {hours:.0f} core-hours: "
        f"{hours / tasks:.1f} h on {tasks} cores. Planning, recording, checkpoints, processes and "
        f"reporting add {sum(ours.values()) / body['real_seconds']:.1%} to that "
        "(`python benchmarks/scale.py --real results`, with training exchanged for a stub of 10 "
        "ms; [its output](benchmarks/scale.json))."
    )


def test_the_cost_of_a_large_plan_is_that_of_the_measurement():
    body = json.loads((ROOT / "benchmarks" / "scale.json").read_text())
    assert between("cost") == make_cost(body)


def test_the_reference_is_whole_and_its_tables_follow_from_its_records(tmp_path):
    copy = tmp_path / "reference"
    shutil.copytree(REFERENCE, copy)
    for name in ("summary.csv", "sweep.csv", "endpoints.csv", "effects.csv", "curves.csv"):
        (copy / name).unlink()
    rebuilt = report.rebuild(copy)
    assert not rebuilt.missing
    assert not rebuilt.left_out
    for name in ("summary.csv", "sweep.csv"):
        assert (copy / name).read_bytes() == (REFERENCE / name).read_bytes()
    for name in ("endpoints.csv", "effects.csv", "curves.csv"):
        a, b = pd.read_csv(copy / name), pd.read_csv(REFERENCE / name)
        pd.testing.assert_frame_equal(a, b, rtol=1e-9)


@pytest.mark.skipif(not PAIRED, reason="the reference was measured without pairs")
def test_the_report_on_flatness_follows_from_its_records(tmp_path):
    copy = tmp_path / "reference"
    shutil.copytree(REFERENCE, copy)
    for name in ("curvature.csv", "flatness.csv"):
        (copy / name).unlink()
    assert not report.rebuild(copy).missing
    for name in ("curvature.csv", "flatness.csv"):
        a, b = (pd.read_csv(folder / name) for folder in (copy, REFERENCE))
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

    table = pd.read_csv(REFERENCE / "pilot.csv", index_col="alpha_train")
    assert table["mean"].drop(0.0, errors="ignore").idxmax() == Recipe().alpha_train


def test_the_code_for_a_model_of_ones_own_runs(tmp_path):
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
    line = [sys.executable, "-c", code]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "['0.weight', '2.weight']\n"


@pytest.mark.slow
def test_the_script_of_ones_own_runs(tmp_path, data_dir, mnist):
    """As written, but for the place of the repository and the folder of the data."""
    (part,) = re.findall(r"## Add your own\n(.*?)\n## ", README, re.DOTALL)
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


def test_every_module_is_in_the_list():
    for path in ROOT.glob("*.py"):
        assert f"`{path.name}`" in README, path.name


def test_every_file_that_is_named_is_there():
    for name in re.findall(r"\]\(([^)#]+)\)", README):
        if "://" not in name:
            assert (ROOT / name).exists(), name
    for name in re.findall(r"`(test_\w+\.py)`", README):
        assert Path(ROOT / "tests" / name).exists(), name
