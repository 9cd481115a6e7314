"""The words of `--noise` → families with their strengths, as a plan holds them."""

from collections.abc import Iterable

import noises
from config import ONWARD
from machine.checks import UsageError, distinct, known, positive, shown
from noises import FAMILIES
from store.plan import as_word


def read_noise(words: Iterable[str]) -> tuple[str, ...]:
    """Return the further noise families of `--noise`, each with its strengths, by name.

    Raises:
        UsageError: if one is not known, named twice, or has strengths that are not numbers > 0.
    """
    named = [(word, *word.partition(":")) for word in words]
    if named:
        distinct("--noise", [name for _, name, *_ in named])
    for _, name, *_ in named:
        if not noises.exists(name):  # a composition of two families need not be registered
            known("--noise", [name], FAMILIES)
    found = []
    for word, name, colon, listed in named:
        if name == "gaussian":  # always measured
            if colon:
                raise UsageError(
                    "--noise: takes gaussian alone; its strengths are those of --alphas"
                )
            continue
        on = not colon or listed.endswith(ONWARD)
        listed = listed.removesuffix(ONWARD).removesuffix(",")
        try:
            family = noises.find(name)
            numbers = [family.strength_of(float(s)) for s in listed.split(",")] if colon else ()
            strengths = numbers if colon else family.strengths
        except ValueError:
            raise UsageError(
                f"--noise: takes a name, or a name with strengths such as {name}:0.1,0.5; "
                f"got {shown(word)}"
            ) from None
        for strength in strengths:
            positive("--noise", strength)
            try:
                family.check(strength)
            except ValueError as error:
                raise UsageError(f"--noise: {name} {error}") from None
        distinct("--noise", strengths)
        found.append(as_word(name, map(float, sorted(strengths)), on))
    return tuple(sorted(found))


def read_units(words: Iterable[str]) -> list[tuple[str, float]]:
    """Return the families of `--units`, each with one strength.

    Raises:
        UsageError: if one is not known, or has no strength that means something.
    """
    found = []
    for word in words:
        name, colon, number = word.partition(":")
        if not noises.exists(name):
            known("--units", [name], FAMILIES)
        family = noises.find(name)
        try:
            strength = family.strength_of(float(number))
            family.check(strength)
        except ValueError as error:
            why = f"; {name} {error}" if colon and "takes" in str(error) else ""
            raise UsageError(
                f"--units: takes a name with a strength, such as {name}:{family.strengths[0]:g}, "
                f"got {shown(word)}{why}"
            ) from None
        found.append((name, strength))
    return found
