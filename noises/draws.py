"""Unit draws, portable: the same bits on every machine, from a NumPy generator. No torch."""

from __future__ import annotations

import numpy as np

_AT_ONCE = 1 << 16  # normals in float64 at a time: never a second copy of a whole draw


def normals(shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    """Return standard normals of a shape, as `noise.unit_noise` has them: drawn in float64, in C
    order, and rounded to float32, which drops the last bits, in which mathematical libraries
    differ."""
    z = np.empty(shape, np.float32)
    flat, room = z.reshape(-1), np.empty(min(_AT_ONCE, z.size))
    for start in range(0, z.size, _AT_ONCE):
        part = flat[start : start + _AT_ONCE]
        part[:] = generator.standard_normal(out=room[: part.size])
    return z


def uniforms(shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    """Return uniform numbers in [0, 1) of a shape: multiples of 2⁻²⁴, which float32 holds exactly.

    Whole numbers in the end, without any mathematical library; a third of the cost of normals.
    """
    return generator.random(shape, dtype=np.float32)


def symmetric(shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    """Return uniform numbers in (−1, 1) of a shape: odd multiples of 2⁻²⁴, so that u and −u are
    equally likely."""
    u = uniforms(shape, generator)
    u -= np.float32(0.5)
    u *= np.float32(2)
    u += np.float32(2**-24)  # exact, as are the two steps before
    return u


def nothing(shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    """Return the draw of a family without draws, which is empty."""
    return np.empty(0, np.float32)
