"""The house: imports go one way, down this list, without circles; nothing stands beside it."""

import ast
from pathlib import Path

import pytest

from conftest import ROOT

HOUSE = (  # a room imports only from rooms that stand further down
    *("run_experiments", "sanity_check", "studies", "runner", "evaluate", "train", "report"),
    *("reporting", "probes", "methods", "models", "data", "analysis", "sources"),
    *("noises", "noise", "store", "machine", "config"),
)
TOP = {
    *("config", "data", "models", "noise", "train", "evaluate"),
    *("run_experiments", "report", "sanity_check"),
}
WITHOUT_TORCH = ("report", "reporting", "analysis", "store.records", "store.plan_file", "noises")


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def modules() -> list[Path]:
    return [
        p
        for room in HOUSE
        for p in ([ROOT / f"{room}.py"] if room in TOP else sorted((ROOT / room).rglob("*.py")))
    ]


def imports_of(path: Path) -> set[str]:
    """Return the rooms that a file imports, inside functions too, but not for type checkers."""
    tree = ast.parse(path.read_text())
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found.add(node.module.partition(".")[0])
    return found & {*HOUSE}


def test_the_house_holds_every_module_and_nothing_else():
    assert {p.stem for p in ROOT.glob("*.py")} == TOP
    folders = {p.parent.name for p in ROOT.glob("*/__init__.py")}
    assert folders == {*HOUSE} - TOP


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down(path):
    room = room_of(path)
    upward = {name for name in imports_of(path) - {room} if HOUSE.index(name) < HOUSE.index(room)}
    assert not upward, f"{room} imports {upward}, which stand above it"


@pytest.mark.parametrize("room", sorted({*HOUSE} - TOP))
def test_the_files_of_a_room_import_each_other_without_circles(room):
    arrows = {}
    for path in sorted((ROOT / room).glob("*.py")):
        arrows[path.stem] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module.startswith(f"{room}."):
                arrows[path.stem].add(node.module.split(".")[1])
            elif isinstance(node, ast.ImportFrom) and node.module == room:
                names = {alias.name for alias in node.names}
                files = {p.stem for p in (ROOT / room).glob("*.py")}
                arrows[path.stem] |= (names & files) or {"__init__"}
    while free := [name for name, to in arrows.items() if not to & arrows.keys()]:
        for name in free:
            del arrows[name]
    assert not arrows


def test_noise_can_be_copied():
    assert not imports_of(ROOT / "noise.py")


def test_every_room_says_what_it_is_for():
    for room in {*HOUSE} - TOP:
        doc = ast.get_docstring(ast.parse((ROOT / room / "__init__.py").read_text()))
        assert doc and room in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("module", WITHOUT_TORCH)
def test_what_is_read_off_records_needs_no_torch(module, command):
    script = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    done = command("-c", script, folders=False)
    assert done.returncode == 0, done.stderr


def test_workers_import_nothing_that_draws(command):
    """A worker imports the main script anew; what only the report needs would cost it seconds."""
    heavy = "{'matplotlib', 'scipy', 'jinja2', 'pandas', 'bokeh'}"
    done = command(
        "-c", f"import sys, run_experiments; print({heavy} & {{*sys.modules}})", folders=False
    )
    assert done.stdout.strip() == "set()", done.stdout + done.stderr
