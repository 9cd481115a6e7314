"""How strengths are spread over a horizontal axis, for figures and for the page. No torch.

Strengths are spread by their logarithm, with 0 at the left end. Where accuracy is flat over most of
that width, the flat part is drawn narrower: from the knee on, where some regime has begun to fall,
the axis has the width that it deserves.
"""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd

FLAT = 0.02
"""A curve is flat where it is less than this from its start, as a fraction."""
SHARE = 0.25
"""The share of the axis that a flat part may have."""
APART = 0.09
"""Labels stand at least this far from each other, as a share of the axis."""


class Scale(NamedTuple):
    """An axis of strengths."""

    origin: float
    """Where 0 stands: a strength below the smallest."""
    top: float
    """The largest strength."""
    knee: float = 0.0
    """Left of it the axis is narrower; 0 = nowhere."""

    def forward(self, strengths) -> np.ndarray:
        """Return places: 0 at the origin, 1 at the top; of any strengths, 0 among them."""
        log = np.log(np.maximum(np.asarray(strengths, float), self.origin / 10) / self.origin)
        return np.interp(log, *self.corners)

    def inverse(self, places) -> np.ndarray:
        """Return the strengths at places."""
        logs, shares = self.corners
        return self.origin * np.exp(np.interp(np.asarray(places, float), shares, logs))

    @property
    def corners(self) -> tuple[list[float], list[float]]:
        """Logarithms over the origin, and their places; one step further on either side."""
        end = math.log(self.top / self.origin)
        bend = math.log(self.knee / self.origin) if self.knee else end / 2
        share = SHARE if self.knee else 0.5
        left, right = share / bend, (1 - share) / (end - bend)
        reach = 10.0
        return [-reach, 0.0, bend, end, end + reach], [
            *(-reach * left, 0.0, share, 1.0),
            1 + reach * right,
        ]

    def ticks(
        self,
        strengths: Iterable[float],
        say: Callable[[float], str] = "{:g}".format,
        apart: float = APART,
    ) -> list[tuple[float, str]]:
        """Return (strength, label) of what can be labelled without labels that touch: 0 and the
        knee, powers of ten, then what has one digit, then the rest; `apart` is the least distance,
        as a share of the axis."""
        chosen = {self.origin: "0"} | ({self.knee: say(self.knee)} if self.knee else {})
        for strength in sorted({float(s) for s in strengths if s > 0}, key=plainness):
            gaps = np.abs(self.forward(list(chosen)) - self.forward(strength))
            if gaps.min() >= apart:
                chosen[strength] = say(strength)
        return sorted(chosen.items())


def plainness(strength: float) -> tuple[int, float]:
    """Return a key that puts powers of ten first, then numbers of one digit; larger ones first."""
    digits = f"{strength:.6e}".partition("e")[0].rstrip("0.")
    return (0 if digits == "1" else len(digits.replace(".", "")), -strength)


def find_origin(alphas: Iterable[float]) -> float:
    """Return where α = 0 stands on a log axis: left of the smallest α > 0, apart from it."""
    return min((float(a) for a in alphas if a > 0), default=1.0) / 2.5


def find_scale(rows: pd.DataFrame) -> Scale:
    """Return the axis for the measurements of one architecture under one noise."""
    noisy = sorted({float(a) for a in rows.alpha if a > 0})
    origin = find_origin(noisy)
    top = noisy[-1] if noisy else 3 * origin
    knee = find_knee(rows)
    if not origin < knee < top:
        return Scale(origin, top)
    share = math.log(knee / origin) / math.log(top / origin)
    return Scale(origin, top, knee if share > SHARE else 0.0)


def find_knee(rows: pd.DataFrame) -> float:
    """Return the largest strength up to which every regime is as good as at its start; 0 if none
    is."""
    plus = rows[rows.sign > 0]
    sums = plus.groupby(["regime", "alpha"], observed=True)[["correct", "total"]].sum()
    knee = math.inf
    for _, curve in (sums.correct / sums.total).groupby("regime", observed=True):
        values = curve.droplevel(0).sort_index()
        fallen = values[(values - values.iloc[0]).abs() >= FLAT]
        flat = values.index[values.index < (fallen.index[0] if len(fallen) else math.inf)]
        knee = min(knee, float(flat[-1]))
    return knee if math.isfinite(knee) else 0.0
