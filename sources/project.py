"""A user's own file, run among its own modules: its `models`, `data`, `config` are not ours."""

import contextlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from machine.checks import UsageError, shown

ROOT = Path(__file__).resolve().parent.parent
"""The folder of this program. A file that lies in it may import ours."""


class Project:
    """A file and the folder whose modules it imports."""

    def __init__(self, path: Path):
        self.path = path.resolve()
        self.folder = self.path.parent
        self.inside = self.folder == ROOT or ROOT in self.folder.parents
        self.modules: dict[str, ModuleType] = {}  # theirs that have names of ours

    @contextlib.contextmanager
    def at_home(self) -> Iterator[None]:
        """Within this context `import` finds the project's modules and not ours.

        Whatever code of the user's runs, runs within it, for it may import as late as it likes.
        """
        names = house()
        if self.folder == ROOT:
            yield  # our modules are its own
            return
        ours, path = take_out(names), list(sys.path)
        sys.modules.update(self.modules)
        kept = [p for p in path if self.inside or Path(p or ".").resolve() != ROOT]
        sys.path[:] = [str(self.folder), *(p for p in kept if p != str(self.folder))]
        try:
            yield
        finally:
            self.modules = take_out(names)
            sys.modules.update(ours)
            sys.path[:] = path

    def load(self) -> ModuleType:
        """Run the file; return it as a module.

        Raises:
            UsageError: whatever goes wrong in it, with the line.
        """
        name = self.path.stem
        with self.at_home(), self.told():
            spec = importlib.util.spec_from_file_location(name, self.path)
            module = importlib.util.module_from_spec(spec)
            if name in house():
                self.modules[name] = module
            if name in house() or name not in sys.modules:
                sys.modules[name] = module  # its classes can be pickled
            spec.loader.exec_module(module)
        return module

    @contextlib.contextmanager
    def told(self, what: str = "") -> Iterator[None]:
        """Turn an error of the user's code into one line that says where it is."""
        try:
            yield
        except (UsageError, MemoryError):
            raise
        except (Exception, SystemExit) as error:
            raise UsageError(f"--model: {self.path.name}{what}: {self.describe(error)}") from error

    def describe(self, error: BaseException) -> str:
        """Return an error in one line, with the last place of the project's that it came by."""
        text = " ".join(str(error).split())
        words = f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__
        if isinstance(error, SyntaxError):
            return words
        mine = [
            frame
            for frame in traceback.extract_tb(error.__traceback__)
            if self.folder in Path(frame.filename).parents
        ]
        return (
            f"{words} ({Path(mine[-1].filename).name}, line {mine[-1].lineno})" if mine else words
        )


def check_file(path: Path) -> None:
    """Check that a file is there, and that it is Python's.

    Raises:
        UsageError: if it is not.
    """
    if path.is_dir():
        raise UsageError(f"--model: takes a file or torchvision:NAME; {shown(path)} is a folder")
    if not path.is_file():
        raise UsageError(f"--model: takes a file or torchvision:NAME; {shown(path)} is not there")
    if path.suffix != ".py":
        raise UsageError(
            f"--model: takes a Python file, mine.py, with a function model() that loads what is "
            f"trained (docs/model.md); {path.name} is none"
        )


def house() -> set[str]:
    """Return the names of our modules and folders."""
    found = {p.stem for p in ROOT.glob("*.py")}
    return found | {p.parent.name for p in ROOT.glob("*/__init__.py")}


def take_out(names: set[str]) -> dict[str, ModuleType]:
    """Remove modules with these names, and those below them, from the imported ones."""
    found = [name for name in sys.modules if name.partition(".")[0] in names]
    return {name: sys.modules.pop(name) for name in found}
