"""Scripts under any Python, and on any stream."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fakes
from conftest import ROOT
from runner import claims

SCRIPTS = sorted(
    path
    for path in (*ROOT.glob("*.py"), *(ROOT / "studies").glob("*.py"))
    if '__name__ == "__main__"' in path.read_text() and path.name != "noise.py"
)  # noise.py runs wherever its copy may be


def python(words: str, ending: str = "", **environment) -> subprocess.CompletedProcess:
    """Run a script as a shell does, which then says its exit status on standard error."""
    line = f"{{ {sys.executable} {words}; echo status $? >&2; }} {ending}"
    return subprocess.run(
        ["bash", "-c", line],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        timeout=120,
    )


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_an_older_python_is_refused_in_one_sentence(script):
    name = script.relative_to(ROOT)
    code = (
        "import sys, runpy\n"
        f"sys.version_info, sys.argv = (3, 10, 9, 'final', 0), ['{name}']\n"
        f"runpy.run_path('{name}', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    needs = f"{script.name}: needs Python 3.11 or newer, and this is 3.10\n"
    assert (done.returncode, done.stderr, done.stdout) == (1, needs, "")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_an_older_python_can_read_the_scripts_that_say_so(script):
    for path in (script, ROOT / "machine" / "process.py", ROOT / "machine" / "__init__.py"):
        ast.parse(path.read_text(), feature_version=(3, 8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A results folder, of which a run failed for a reason that is not ASCII."""
    folder = tmp_path_factory.mktemp("streams") / "results"
    plan = fakes.make_plan(("mlp",), seeds=(0, 1))
    fakes.make_results(folder, plan, keep=lambda run, point: run.seed == 0)
    claims.fail(folder, plan.runs[-1], "no α")
    return folder


STATUS = "run_experiments.py --status"
ASCII = {"ascii": {"PYTHONIOENCODING": "ascii"}}
ASCII["C"] = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize("way", ASCII)
def test_what_an_encoding_lacks_is_written_as_an_escape(folder, way):
    done = python(f"{STATUS} --results-dir {folder}", **ASCII[way])
    assert done.stderr == b"status 0\n"
    assert r"no \u03b1" in done.stdout.decode("ascii")


CLOSED = [(STATUS, end) for end in (">&-", "| true", "| head -1", "> /dev/full")]


@pytest.mark.parametrize(("words", "ending"), [*CLOSED, ("report.py", "| true")])
def test_a_stream_that_nobody_reads_changes_no_status(folder, words, ending):
    words = f"{words} --results-dir {folder}"
    done = python(f"{words} {ending}") if ending.startswith(">") else python(words, ending)
    assert done.stderr == b"status 0\n"
    assert done.stdout.count(b"\n") <= 1


def test_without_any_stream_wrong_input_is_still_status_2(folder):
    words = f"{STATUS} --results-dir {folder / 'plan.json'} <&- >&- 2>&-"
    assert python(words).stderr == b"status 2\n"


def test_files_do_not_take_the_place_of_a_closed_stream(tmp_path):
    code = (
        "from machine.process import steady_output; steady_output(); "
        f"f = open('{tmp_path / 'file'}', 'w'); print('lost', flush=True); f.write(str(f.fileno()))"
    )
    python(f'-c "{code}" >&- 2>&-')
    assert int((tmp_path / "file").read_text()) > 2


def test_help_in_ascii():
    done = python("run_experiments.py --help", PYTHONIOENCODING="ascii")
    assert done.stderr == b"status 0\n" and re.search(rb"--status", done.stdout)
