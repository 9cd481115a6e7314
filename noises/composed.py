"""Two families one after the other, in a stated order: a+b is a first, then b.

The name says at which strength a is applied, as in quantization_4+gaussian; the strength of the
composition is that of b. Where a has no draws, the draws are those of b alone, on the same chips.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from noises.family import Family


def apply(w, z, strength, first: Family, at: float, second: Family):
    """Return w as `first` at its strength leaves it, then `second`: float32 at least in between."""
    from noises.scales import wide

    count = first.numbers if first.random else 0
    for_first = _part(z, 0, count) if count else z.new_empty(0)
    for_second = _part(z, count, second.numbers) if count else z
    between = first.apply(wide(w), for_first, at)
    return second.apply(between, for_second, strength).to(w.dtype)


def _part(z, start: int, count: int):
    """Return the numbers of one of the two, in the shape in which it made them."""
    return z[start] if count == 1 else z[start : start + count]


def unit(shape, generator, first: Family, second: Family):
    """Return the draw of both, (numbers of both, *shape), where the first has one."""
    if not first.random:
        return second.unit(shape, generator)
    both = [np.reshape(f.unit(shape, generator), (f.numbers, *shape)) for f in (first, second)]
    return np.concatenate(both)


def compose(first: str, at: float, second: str, families: Mapping[str, Family]) -> Family:
    """Return the family that is one at a fixed strength, and then another.

    Args:
        first, second: names, of families or compositions.
        at: the strength of the first, > 0.
        families: by name.

    Raises:
        KeyError: if there is no such family.
        ValueError: if `at` means nothing in the first.
    """
    one, two = resolve(first, families), resolve(second, families)
    one.check(at)
    far = one.jumps or at > one.strengths[0]
    return replace(
        two,
        meaning=f"{two.meaning}, after {first} at {one.show(at)}",
        apply=partial(apply, first=one, at=at, second=two),
        unit=partial(unit, first=one, second=two),
        signed=False,  # −z mirrors w' about what the first leaves, not about w
        random=one.random or two.random,
        jumps=far or two.jumps,
        stream=two.stream or ("" if one.random else second),
        numbers=one.numbers + two.numbers,
        gradient=f"{one.gradient}, times {two.gradient}",
    )


def resolve(name: str, families: Mapping[str, Family]) -> Family:
    """Return a family by its name, or the composition that a name such as quantization_4+pcm is.

    Raises:
        KeyError: if it is neither.
        ValueError: if the number in the name means nothing in the first family.
    """
    if name in families:
        return families[name]
    head, _, second = name.rpartition("+")
    first, _, number = head.rpartition("_")
    try:
        value = float(number)
    except ValueError:  # there is none
        raise KeyError(name) from None
    return compose(first, resolve(first, families).named(value), second, families)
