"""The scripts of benchmarks/ that nothing else runs still do what they say."""

import json
import subprocess
import sys

import pytest

from conftest import ROOT


def run(script: str, *words) -> None:
    line = [sys.executable, str(ROOT / "benchmarks" / script), *map(str, words)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
def test_a_small_array_of_stubs_is_measured_whole(mnist, tmp_path):
    run("scale.py", "--seeds", 2, "--tasks", 2, "--out", tmp_path / "scale.json")
    body = json.loads((tmp_path / "scale.json").read_text())
    assert body["runs"] == 16 and all(seconds >= 0 for seconds in body["spent"].values())


@pytest.mark.slow
def test_the_plain_way_and_ours_are_timed(mnist, tmp_path):
    run("run.py", "--quick", "--architectures", "mlp", "--out", tmp_path / "speed.json")
    body = json.loads((tmp_path / "speed.json").read_text())
    assert {row["work"] for row in body["rows"]} == {"clean step", "noisy step", "sweep pass"}
    assert all(row["ratio"] > 0 for row in body["rows"]) and body["whole_minutes"]
