"""The words of a command line → options; what cannot be read is said in one line."""

import contextlib
import dataclasses
import difflib
import functools
import io
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, TypeVar, get_args, get_origin, get_type_hints

import tyro

from machine.checks import UsageError, fail, shown

T = TypeVar("T")
TAKES = {int: "whole number", float: "number", Path: "path", str: "word"}


def run(main: Callable[..., T]) -> T:
    """Call the function of a script with the options of the command line, which are its own."""

    @functools.wraps(main)
    def later(*values, **options):
        return functools.partial(main, *values, **options)

    return read(later)()


def read(wanted: Callable[..., T], words: Iterable[str] | None = None) -> T:
    """Return `wanted`, a dataclass or function, called with what a command line says.

    Args:
        wanted: its fields or parameters are the options.
        words: those behind the program's name; by default this program's own.

    Words that cannot be read end the program with status 2, a request for help with 0.
    """
    words = list(sys.argv[1:] if words is None else words)
    options = options_of(wanted)
    given = group(words, options)
    box = io.StringIO()  # tyro says in many lines what is wrong
    try:
        with contextlib.redirect_stderr(box):
            made, rest = tyro.cli(wanted, prog=program(), args=words, return_unknown_args=True)
        if rest:
            raise UsageError(say_unknown(rest[0], options))
        check_given(given, options)
    except UsageError as error:
        fail(error)
    except SystemExit as end:
        if end.code != 2:
            raise
        fail(
            UsageError(say_choice(wanted, words) or say_unreadable(box.getvalue(), words, options))
        )
    return made


def program() -> str:
    """Return how this program is called, such as `report.py` or `python -m studies.bench`."""
    module = sys.modules["__main__"].__spec__
    return f"python -m {module.name}" if module else Path(sys.argv[0]).name


def options_of(wanted: Callable) -> dict[str, type]:
    """Return the options that a dataclass or function means, such as `--epochs`, and their types.

    Fields that are dataclasses are gone through; positional words are left out.
    """
    found = {}
    for name, hint in get_type_hints(wanted, include_extras=True).items():
        marks = getattr(hint, "__metadata__", ())
        kind = get_args(hint)[0] if marks else hint
        option = name.replace("_", "-")
        if dataclasses.is_dataclass(kind):
            found |= options_of(kind)
        elif name != "return" and tyro.conf.Positional not in marks:
            found[f"--{option}"] = kind
            if kind is bool:
                found[f"--no-{option}"] = kind
    return found


def group(words: Iterable[str], options: dict[str, type]) -> list[tuple[str, list[str]]]:
    """Return each option of a command line with the words behind it."""
    found: list[tuple[str, list[str]]] = []
    for word in words:
        name, equals, value = word.partition("=")
        name = name.replace("_", "-")
        if word == "--":
            break
        if name in options:
            found.append((name, [value] if equals else []))
        elif found:
            found[-1][1].append(word)
    return found


def check_given(given: Iterable[tuple[str, list[str]]], options: dict[str, type]) -> None:
    """Check what could not be told from the default later: lists and paths that are empty."""
    for name, values in given:
        many = get_origin(options[name]) is tuple
        if many and not values:
            raise UsageError(f"{name}: takes at least one value, got none")
        if base_of(options[name]) is Path and "" in (values if many else values[:1]):
            raise UsageError(f"{name}: takes a path, got ''")


def say_unknown(word: str, options: Iterable[str]) -> str:
    """Return in words that an option is not known, suggesting the nearest one."""
    name = word.partition("=")[0]
    near = difflib.get_close_matches(name.replace("_", "-"), options, 1, cutoff=0.7)
    hint = f"did you mean {near[0]!r}?" if near else "--help lists them"
    plain = re.fullmatch(r"--?[\w-]{1,40}", name, re.ASCII)
    return f"{name if plain else shown(name)}: is none of the options; {hint}"


def say_choice(wanted: Callable, words: list[str]) -> str:
    """Return in words that the first word is none of those that stand for a choice; "" if it is."""
    for name, hint in get_type_hints(wanted, include_extras=True).items():
        kind, *marks = get_args(hint) or (None,)
        if tyro.conf.Positional in marks and get_origin(kind) is Literal:
            allowed, first = get_args(kind), words[0] if words else ""
            if first not in allowed:
                got = shown(first) if first else "none"
                return f"{name.upper()}: takes {' or '.join(allowed)}, got {got}"
    return ""


def say_unreadable(box: str, words: list[str], options: dict[str, type]) -> str:
    """Return in one line what tyro says in a box: the option, what it takes and what it got."""
    given = dict(group(words, options))
    lines = [line.strip(" │╭╮╰╯─") for line in box.splitlines()]
    text = " ".join(line for line in lines if line)
    named = re.search(r"(?:Error parsing|for argument) '?(--[\w-]+)", text)
    if not named or named[1] not in given:  # a positional word, for one that is not an option
        strange = [w for w in words if w[:1] == "-" and not group([w], options)]
        return say_unknown(strange[0], options) if strange else text[:200]
    name, values = named[1], given[named[1]]
    what = TAKES.get(base_of(options[name]), "value of another kind")
    if get_origin(options[name]) is tuple:
        return f"{name}: takes {what}s with spaces between them, got {shown(' '.join(values))}"
    return f"{name}: takes a {what}, got {shown(values[0]) if values else 'none'}"


def base_of(kind: type) -> type:
    """Return the type of a value, of a list of them or of one that may be None."""
    inner = [part for part in get_args(kind) if part not in (type(None), ...)]
    return inner[0] if inner else kind
