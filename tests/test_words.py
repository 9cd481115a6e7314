"""words.py: a command line of any script → its options, or one line that says what is wrong."""

import dataclasses
import re
import sys
from pathlib import Path
from typing import Literal

import pytest
import tyro

from conftest import ROOT
from machine import words


@dataclasses.dataclass(frozen=True)
class Inner:
    rate: float = 0.1
    """Some number."""


@dataclasses.dataclass(frozen=True)
class Wanted:
    """Some options."""

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    inner: tyro.conf.OmitArgPrefixes[Inner] = dataclasses.field(default_factory=Inner)
    counts: tuple[int, ...] = (1, 2)
    limit: int | None = None
    folder: Path = Path("here")
    others: tuple[Path, ...] = ()
    fast: bool = False


@pytest.fixture(params=["dataclass", "function"])
def read(request, monkeypatch, capsys):
    """Read a command line as a script does whose options are fields, or parameters."""

    def main(
        names: tyro.conf.Positional[tuple[str, ...]] = (),
        rate: float = 0.1,
        counts: tuple[int, ...] = (1, 2),
        limit: int | None = None,
        folder: Path = Path("here"),
        others: tuple[Path, ...] = (),
        fast: bool = False,
    ) -> Wanted:
        """Some options."""
        print("this ran")
        print("a warning", file=sys.stderr)
        return Wanted(names, Inner(rate), counts, limit, folder, others, fast)

    def read(line: str) -> Wanted:
        given = [word.strip("'") for word in line.split()]
        if request.param == "dataclass":
            return words.read(Wanted, given)
        monkeypatch.setattr(sys, "argv", ["script.py", *given])
        return words.run(main)

    return read


@pytest.mark.parametrize(
    ("line", "made"),
    [
        ("", Wanted()),
        ("a --rate 2 --counts 3 4 --limit 5", Wanted(("a",), Inner(2.0), (3, 4), 5)),
        ("--folder=there --others x y --fast", Wanted((), Inner(), (1, 2), None, Path("there"),
                                                      (Path("x"), Path("y")), True)),
        ("--limit None --no-fast -- --rate", Wanted(("--rate",))),
    ],
)  # fmt: skip
def test_what_is_right_arrives(read, line, made):
    assert read(line) == made


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--rate", "--rate: takes a number, got none"),
        ("--rate x", "--rate: takes a number, got 'x'"),
        ("--limit=1.5", "--limit: takes a whole number, got '1.5'"),
        ("--counts 1,2", "--counts: takes whole numbers with spaces between them, got '1,2'"),
        ("--counts", "--counts: takes at least one value, got none"),
        ("--others --fast", "--others: takes at least one value, got none"),
        ("a --folder ''", "--folder: takes a path, got ''"),
        ("--folder=", "--folder: takes a path, got ''"),
        ("--others a ''", "--others: takes a path, got ''"),
        ("--inner.rate 1", "'--inner.rate': is none of the options"),
        ("--cuonts 1", "--cuonts: is none of the options; did you mean '--counts'?"),
        ("--zzz", "--zzz: is none of the options; --help lists them"),
        ("-z", "-z: is none of the options"),
        ("--names a", "--names: is none of the options"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_and_nothing_runs(read, line, said, capsys):
    with pytest.raises(SystemExit) as end:
        read(line)
    out, err = capsys.readouterr()
    assert end.value.code == 2 and not out
    assert said in err and err.count("\n") == 1 and len(err) < 250


@pytest.mark.parametrize("width", ["20", "400"])
def test_the_width_of_the_terminal_changes_nothing(monkeypatch, capsys, width):
    monkeypatch.setenv("COLUMNS", width)
    with pytest.raises(SystemExit):
        words.read(Wanted, ["--counts", "1", "x" * 100])
    said = capsys.readouterr().err
    assert "--counts: takes whole numbers with spaces between them, got '1 xxx" in said


def test_what_a_script_prints_is_left_alone(read, capsys, request):
    read("--rate 1")
    if "function" in request.node.name:
        assert capsys.readouterr() == ("this ran\n", "a warning\n")


def test_help_is_no_error(read, capsys):
    with pytest.raises(SystemExit) as end:
        read("--help")
    assert not end.value.code and "--counts" in capsys.readouterr().out


CALLS = r"words\.run\(|run_script\(|read_words\("
SCRIPTS = [
    str(path.relative_to(ROOT))
    for folder in (".", "benchmarks", "studies")
    for path in sorted((ROOT / folder).glob("*.py"))
    if re.search(CALLS, path.read_text()) or path.stem in ("run_experiments", "sanity_check")
]


def test_every_script_that_reads_options_is_among_them():
    assert len(SCRIPTS) >= 16
    for folder in (".", "benchmarks", "studies"):
        for path in (ROOT / folder).glob("*.py"):
            text = path.read_text() if path.name != "noise.py" else ""  # which can be copied
            assert "tyro.cli(" not in text and "argparse" not in text


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_says_it_so(script, command, tmp_path):
    module = ["-m", script.removesuffix(".py").replace("/", ".")]
    first = ["epochs"] if script == "studies/pilot.py" else []
    start = module if script.startswith("studies") else [script]
    done = command(*start, *first, "--helpp", "x", folders=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"{Path(script).name}: --helpp: is none of the options; ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("line", "got"), [("", "none"), ("cc", "'cc'"), ("--rate 1", "'--rate'")])
def test_a_choice_that_comes_first_is_said(line, got, monkeypatch, capsys):
    def main(part: tyro.conf.Positional[Literal["aa", "bb"]], rate: float = 1.0) -> None:
        """Choose."""

    monkeypatch.setattr(sys, "argv", ["script.py", *line.split()])
    with pytest.raises(SystemExit, match="2"):
        words.run(main)
    assert capsys.readouterr().err == f"script.py: PART: takes aa or bb, got {got}\n"


@pytest.mark.parametrize("script", ["data", "train", "sanity_check", "evaluate"])
def test_a_wrong_data_folder_is_named_by_its_option(script, command, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    done = command(f"{script}.py", "--data-dir", tmp_path / "file", folders=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"{script}.py: --data-dir: ") and done.stderr.count("\n") == 1
