"""What the tests share: hypothesis profiles, real data, and the commands as subprocesses."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

import data

ROOT = Path(__file__).resolve().parent.parent

# The default keeps `python -m pytest` quick; CI sets HYPOTHESIS_PROFILE=ci to try more. They were
# run with 2,500, too: raise it where options or checks change.
settings.register_profile("default", max_examples=100, deadline=None)
settings.register_profile(
    "ci", max_examples=400, deadline=None, suppress_health_check=list(HealthCheck)
)
settings.register_profile("few", max_examples=10, deadline=None)  # for another look at the same
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# Tests compute on one thread, as runs do: results depend on the number.
torch.set_num_threads(1)

# Started by nohup or in the background, what is tested would ignore them for good, as it should.
for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, usual)


def pytest_collection_modifyitems(items: list) -> None:
    """Slow tests come first, so that no process begins a long one when the others are done."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of the real datasets, filled on first use."""
    return ROOT / "data"


@pytest.fixture(scope="session")
def mnist(data_dir: Path) -> data.Dataset:
    """Real MNIST; skipped, with the reason, where it cannot be had."""
    try:
        return data.load("mnist", data_dir)
    except data.DataError as error:
        pytest.skip(str(error))


@pytest.fixture
def command(tmp_path: Path, data_dir: Path):
    """Run one of the scripts as a user would; returns the finished process."""

    def run(*words: str, folders: bool = True, timeout: float = 240, **options):
        line = [sys.executable, *map(str, words)]
        if folders:
            line += ["--data-dir", str(data_dir), "--checkpoint-dir", str(tmp_path / "ckpt")]
            if "run_experiments.py" in words[0]:
                line += ["--results-dir", str(tmp_path / "results")]
        return subprocess.run(
            line, cwd=ROOT, capture_output=True, text=True, timeout=timeout, **options
        )

    return run
