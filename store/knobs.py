"""JSON data → the dataclasses of `config`, checked: types, bounds, each value once."""

import math
from dataclasses import fields
from typing import get_args, get_origin

from config import NOT_NEGATIVE, POSITIVE, introduced

LARGEST_SEED = 2**31 - 1
AT_LEAST_ZERO = ("alphas", "precision", "seeds")
"""Further fields in which no number is negative."""


def typed(kind: type, body: dict):
    """Return the dataclass that JSON data describes; ValueError if a field cannot be that."""
    listed = {k: tuple(v) if isinstance(v, list) else v for k, v in body.items()}
    made = kind(**{**introduced(kind), **listed})
    for f in fields(kind):
        value = getattr(made, f.name)
        listed = get_origin(f.type) is tuple
        wanted = get_args(f.type)[0] if listed else f.type  # int, of tuple[int, ...]
        items = value if listed else [value]
        good = isinstance(value, tuple) == listed and all(fits(item, wanted) for item in items)
        items = [item for item in items if item is not None]
        if not good or not within_bounds(f, items) or len({*items}) < len(items):
            raise ValueError(f"{f.name} is {value!r}")
    return made


def fits(value, wanted: type) -> bool:
    """Return whether JSON data is of a type: a finite whole number may stand for a float."""
    if wanted is float:
        return type(value) in (int, float) and math.isfinite(value)
    return type(value) in (get_args(wanted) or [wanted])  # one of a union, or itself


def within_bounds(f, items) -> bool:
    """Return whether the values of a field are within its bounds."""
    bounds = f.metadata.get("bounds")
    if isinstance(bounds, tuple):
        return all(bounds[0] <= item <= bounds[1] for item in items)
    if bounds == POSITIVE:
        return all(item > 0 for item in items)
    if bounds == NOT_NEGATIVE or f.name in AT_LEAST_ZERO:
        return all(item >= 0 for item in items) and (
            f.name != "seeds" or all(item <= LARGEST_SEED for item in items)
        )
    return True
