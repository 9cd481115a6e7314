"""What is recorded of where a result comes from: its code, its arithmetic, its segments."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import fakes
import run_experiments
from conftest import ROOT
from machine import arithmetic, offers
from runner import execute, segments
from runner.events import Kind
from store import checkpoints, records
from store.folders import Folders
from train import Stopped

HERE = {"commit": "a", "code": "1" * 64, "threads": 1, "torch": "2"}
ELSEWHERE = {**HERE, "code": "2" * 64, "threads": 2}

# ---- The code ------------------------------------------------------------------------------------


@pytest.fixture
def copy(tmp_path) -> Path:
    """A copy of the code without its repository."""
    for path in (*ROOT.glob("*.py"), *ROOT.glob("*/*.py")):
        target = tmp_path / "copy" / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return tmp_path / "copy"


@pytest.mark.parametrize("name", ["noise.py", "methods/plain.py", "machine/fast_products.py"])
def test_the_digest_is_that_of_all_code_that_shapes_a_record(copy, name):
    assert arithmetic.digest_of_code(copy) == arithmetic.CODE
    text = (copy / name).read_bytes()
    (copy / name).write_bytes(text.replace(b"\n", b"\r\n"))
    assert arithmetic.digest_of_code(copy) == arithmetic.CODE
    (copy / name).write_bytes(text + b"# edited\n")
    assert arithmetic.digest_of_code(copy) != arithmetic.CODE


def test_the_digest_is_not_that_of_what_only_reads_records(copy):
    others = ("report.py", "reporting/pages.py", "studies/pilot.py", "tests/fakes.py")
    for name in (*others, "mine.py"):  # the last is a reader's own: see README
        (copy / name).write_text("edited")
    assert arithmetic.digest_of_code(copy) == arithmetic.CODE


def test_every_file_that_a_worker_imports_is_in_the_digest():
    known = {str(path) for path in arithmetic.code_files()}
    code = "import sys, run_experiments; print(*(getattr(m, '__file__', 0) for m in " + (
        "[*sys.modules.values()]), sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    ours = {line for line in done.stdout.splitlines() if Path(line).is_relative_to(ROOT)}
    ours = {path for path in ours if "site-packages" not in path}
    assert str(ROOT / "noise.py") in ours and ours <= known


def test_a_worker_refuses_code_that_was_edited_meanwhile(tmp_path, monkeypatch):
    monkeypatch.setattr(arithmetic, "CODE", "0" * 64)  # the parent's: its workers read the files
    plan, folders = fakes.make_plan(("mlp",), ("clean",), (0,)), Folders(*3 * [tmp_path])
    failed = run_experiments.run_all(
        plan.runs, plan, folders, torch.device("cpu"), 1, 1, tables=None
    )
    assert [reason.partition(":")[0] for reason in failed.values()] == ["CodeChanged"]
    assert "edited since this command began" in str(failed) and not [*tmp_path.glob("*.pt")]


def git(folder: Path, *words: str) -> str:
    line = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b.c", *words]
    return subprocess.run(line, check=True, capture_output=True, text=True).stdout.strip()


def test_a_copy_in_another_repository_does_not_record_that_ones_commit(tmp_path, monkeypatch):
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "a.py").write_text("1")
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "all")
    head = git(tmp_path, "rev-parse", "HEAD")[:12]
    assert offers.commit(tmp_path) == head
    assert offers.commit(inside) == ""
    (inside / "a.py").write_text("2")
    assert offers.commit(tmp_path) == f"{head}-dirty"
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))  # as in a hook
    (tmp_path.parent / f"{tmp_path.name}-2").mkdir()
    assert offers.commit(tmp_path.parent / f"{tmp_path.name}-2") == ""


# ---- The arithmetic ------------------------------------------------------------------------------


def test_settings_that_change_bits_are_recorded():
    changed = {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE"}
    code = "import torch; from machine import offers as o; d = torch.device('cpu')\n"
    code += "print(o.provenance(d, 1)['settings']); print(o.provenance(d, 1)['cpu capability'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **changed},
        capture_output=True,
        text=True,
    )
    settings, capability = done.stdout.splitlines()
    assert "ATEN_CPU_CAPABILITY=default" in settings and "MKL_CBWR=COMPATIBLE" in settings
    assert capability == "DEFAULT"


def test_what_decides_bits_is_compared_and_what_is_not_recorded_may_differ():
    facts = offers.provenance(torch.device("cpu"), 1)
    assert {*arithmetic.DECIDES} - {"cuda"} <= {*facts}
    assert arithmetic.differences(facts, {**facts, "commit": "b", "cores": 99}) == []
    for name in {*arithmetic.DECIDES} - {"cuda"}:
        assert len(arithmetic.differences(facts, {**facts, name: "other"})) == 1
        lacking = {k: v for k, v in facts.items() if k != name}
        [said] = arithmetic.differences(facts, lacking)
        assert said.startswith(name) and said.endswith("was not recorded")
    assert arithmetic.differences({"threads": 1}, {"threads": 1}) == ["code not recorded"]


# ---- The segments --------------------------------------------------------------------------------


def test_segments_of_alike_facts_are_one():
    assert segments.go_on(None, HERE, 0) == {}
    assert segments.go_on({**HERE, "epoch_seconds": [1.0]}, HERE, [1, 0]) == {}
    two = segments.go_on({**HERE, "seconds": 1.0}, ELSEWHERE, 7)
    assert two == {"segments": [{**HERE, "from": 0}, {**ELSEWHERE, "from": 7}]}
    assert segments.go_on({**ELSEWHERE, **two}, ELSEWHERE, 9) == two
    three = segments.go_on({**ELSEWHERE, **two}, HERE, 9)
    assert [s["from"] for s in three["segments"]] == [0, 7, 9]


def test_a_run_that_goes_on_elsewhere_says_so_and_carries_the_facts_of_both(
    tmp_path, data_dir, mnist
):
    plan = fakes.make_plan(("mlp",), ("clean",), (0,), alphas=(0.0, 1.0), draws=3, test_size=50)
    recipe = replace(plan.recipe, epochs=2, train_size=64, batch_size=16)
    plan = replace(plan, recipe=recipe)
    [run], folders = plan.runs, Folders(data_dir, tmp_path / "ckpt", tmp_path)
    (tmp_path / "runs").mkdir()
    said = []

    def tell(kind, **facts):
        if kind == Kind.NOTE:
            said.append(facts["text"])

    def go(here: dict, steps: float) -> None:
        asked = iter(range(10**6))
        execute.execute(
            run,
            plan.sweep,
            folders,
            torch.device("cpu"),
            here,
            tell,
            lambda: next(asked) >= steps,
        )

    with pytest.raises(Stopped):
        go(HERE, 5)  # in the second epoch of four steps
    with pytest.raises(Stopped):
        go(ELSEWHERE, 4)  # when two more steps were made, and a pass or two
    go(HERE, 1e9)
    training = records.load(folders.record(run))["provenance"]["training"]
    assert training["segments"] == [{**HERE, "from": [0, 0]}, {**ELSEWHERE, "from": [1, 2]}]
    assert len(training["epoch_seconds"]) == 2
    measuring = records.load(folders.record(run))["provenance"]["measuring"]
    first, second = measuring["segments"]
    assert (first.pop("from"), first) == (0, ELSEWHERE)
    assert 0 < second.pop("from") < 4 and second == HERE
    change = "with other arithmetic: code 222222222222, was 111111111111; threads 2, was 1"
    assert f"training goes on {change}" in said
    assert any(text.startswith("measuring goes on with other arithmetic: ") for text in said)
    model = checkpoints.load(checkpoints.final_path(folders.checkpoints, run), run)
    assert model["provenance"] == training
