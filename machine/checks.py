"""What every script says of wrong input: one line that names the option and what it takes."""

from __future__ import annotations

import difflib
import errno
import os
import re
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a report reads a command line, too, and needs no torch
    import torch

NAME_MAX = 255  # bytes of a file's name, on every common file system
LARGEST = 1e30  # of α and rates: its products stay within float32


class UsageError(ValueError):
    """Wrong input that can be seen before work starts; the message names the option."""


def known(option: str, names: Iterable[str], allowed: Iterable[str]) -> None:
    """Check that names are in a registry and not repeated, suggesting the nearest one."""
    names, allowed = list(names), list(dict.fromkeys(allowed))
    for name in names:
        if name not in allowed:
            near = difflib.get_close_matches(name, allowed, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            listed = textwrap.shorten(", ".join(allowed), 150, placeholder=" and more")
            raise UsageError(f"{option}: {shown(name)} is none of {listed}{hint}")
    distinct(option, names)


def shown(value: str | float | Path) -> str:
    """Return a value as messages show it: on one line, and not too long."""
    text = repr(value) if isinstance(value, (int, float)) else repr(str(value))
    return text if len(text) <= 60 else f"{text[:40]} ... {text[-15:]}"


def number_of(number: int | str, what: str) -> str:
    """Return "1 run", "3 runs" or "3–5 runs"."""
    return f"{number} {what}{'' if str(number) == '1' else 's'}"


def distinct(option: str, values: Iterable) -> None:
    """Check that there are values, each once."""
    values = list(values)
    if not values:
        raise UsageError(f"{option}: takes at least one value, got none")
    twice = sorted({v for v in values if values.count(v) > 1})
    if twice:
        raise UsageError(f"{option}: takes each value once, got {shown(twice[0])} twice")


def within(option: str, value: int, low: int, high: int, meaning: str = "") -> None:
    """Check that a whole number lies between two bounds, both included."""
    if not low <= value <= high:
        note = f" ({meaning})" if meaning else ""
        raise UsageError(
            f"{option}: takes a whole number from {low} to {high}{note}, got {shown(value)}"
        )


def positive(option: str, value: float, zero: bool = False) -> None:
    """Check that a number is above zero (or zero, where that has a meaning) and not absurd."""
    if not (value > 0 or (zero and value == 0)) or value > LARGEST:
        bound = "≥ 0" if zero else "> 0"
        raise UsageError(
            f"{option}: takes a finite number {bound} (at most {LARGEST:g}), got {value:g}"
        )


def check_folder(option: str, folder: Path, read_only: bool = False) -> None:
    """Check that a folder is there or can be made; nothing is written.

    It must be one that can be written in, but for one that is there where `read_only` will do.
    """
    try:
        if any(len(os.fsencode(part)) > NAME_MAX for part in folder.parts):
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        spot = folder
        while not present(spot):
            spot = spot.parent
        is_folder = spot.is_dir()
        usable = os.access(spot, os.W_OK | os.X_OK) or (read_only and spot == folder)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", error)
        raise UsageError(f"{option}: takes a folder; {shown(folder)}: {reason}") from None
    if not (is_folder and usable):
        reason = "cannot be written" if is_folder else "is not a folder"
        raise UsageError(f"{option}: takes a folder that can be written; {shown(spot)} {reason}")


def present(path: Path) -> bool:
    """Return whether there is anything at `path`, be it a link that leads nowhere."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def choose_device(name: str) -> torch.device:
    """Return the device that a name stands for.

    Raises:
        UsageError: if there is none.
    """
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda:0" if count else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    if match := re.fullmatch(r"cuda(?::([0-9]{1,4}))?", name):
        index = int(match[1] or 0)
        if index < count:
            return torch.device("cuda", index)
        raise UsageError(f"--device: {name} is not there; this machine has {count} GPUs")
    raise UsageError(f"--device: takes cpu, cuda, cuda:N or auto, got {shown(name)}")


def fail(error: Exception) -> None:
    """End the program with status 2 and one line."""
    print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
    raise SystemExit(2)
