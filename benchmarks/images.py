"""How often intervals hold for new images, on answers of a known truth: `images.json`.

    python benchmarks/images.py              # about five minutes on one core

An answer is right where a + seed + image + (seed × image) + (draw × seed × image) is above 0, all
of them normal, of variances that sum to 1: the true accuracy is then Φ(a). The two regimes share
most of the image and of the seed × image part, as models do that are trained alike. `STATISTICS.md`
says what was weighed and has the table.
"""

import json
import sys
from pathlib import Path

import numpy as np
from scipy import stats

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from analysis.images import image_variance, with_images  # noqa: E402
from analysis.verdicts import t_factor  # noqa: E402
from machine.words import run as run_script  # noqa: E402

IMAGES, DRAWS = 2000, 5
KINDS = {  # accuracy of the baseline, effect, variances of seed, draw, image, seed × image
    "images rule": (0.98, -0.003, 0.00001, 0.00001, 0.8, 0.1),
    "both": (0.97, -0.005, 0.001, 0.0003, 0.6, 0.2),
    "seeds rule": (0.9, 0.01, 0.02, 0.005, 0.4, 0.2),
    "steep": (0.6, 0.1, 0.05, 0.05, 0.3, 0.2),
    "no effect": (0.97, 0.0, 0.001, 0.0003, 0.6, 0.2),
}
SHARED = 0.7
"""Part of each variance that the two regimes have in common."""
BOOTSTRAPS = 200


def make(rng, kind: tuple, seeds: int) -> np.ndarray:
    """Return differences of answers of one experiment, (seeds, draws, images)."""
    start, effect, *variances = kind
    rest = 1 - sum(variances)
    shapes = [(seeds, 1, 1), (seeds, DRAWS, 1), (1, 1, IMAGES), (seeds, 1, IMAGES)]
    shapes.append((seeds, DRAWS, IMAGES))
    latent = [np.full((seeds, DRAWS, IMAGES), stats.norm.ppf(p)) for p in (start, start + effect)]
    for variance, shape in zip([*variances, rest], shapes, strict=True):
        common = np.sqrt(SHARED * variance) * rng.standard_normal(shape, np.float32)
        for one in latent:
            one += common + np.sqrt((1 - SHARED) * variance) * rng.standard_normal(
                shape, np.float32
            )
    return (latent[1] > 0).astype(np.int8) - (latent[0] > 0)


def half_widths(rng, d: np.ndarray, bootstraps: int = BOOTSTRAPS) -> dict[str, float]:
    """Return the half-width that each method gives of (seeds, draws, images) differences."""
    table = d.mean(axis=1)  # (S, I)
    seeds, images = table.shape
    means = table.mean(axis=1)
    draws = d.mean(axis=2).var(axis=1, ddof=1).mean() / DRAWS
    of_seeds = max(means.var(ddof=1), draws, 1 / images**2) / seeds
    these = t_factor(seeds) * np.sqrt(of_seeds)
    variance = image_variance(table)
    total = of_seeds + variance / images
    freedom = total**2 / (of_seeds**2 / (seeds - 1) + (variance / images) ** 2 / (images - 1))
    every = table.mean(axis=0).var(ddof=1)
    found = {
        "these": these,
        "squares": with_images(these, variance, images),
        "all of images": with_images(these, every, images),
        "satterthwaite": stats.t.isf(0.025, freedom) * np.sqrt(total),
    }
    if bootstraps:
        of_seed = rng.multinomial(seeds, np.full(seeds, 1 / seeds), bootstraps)  # (B, S)
        of_image = rng.multinomial(images, np.full(images, 1 / images), bootstraps)  # (B, I)
        again = np.einsum("bs,si,bi->b", of_seed, table, of_image, optimize=True)
        low, high = np.quantile(again / (seeds * images), [0.025, 0.975])
        found["bootstrap"] = max(high - means.mean(), means.mean() - low)
    return found


def simulate(repeats: int, chosen: list[str]) -> list[dict]:
    """Return of each kind, number of seeds and method how many intervals hold the truth, and the
    mean half-width in points."""
    lines = []
    for number, (kind, facts) in enumerate(KINDS.items()):
        for seeds in (3, 6, 10) if kind in chosen else ():
            rng = np.random.default_rng([seeds, number])
            held: dict[str, list[bool]] = {}
            halves: dict[str, list[float]] = {}
            for _ in range(repeats):
                d = make(rng, facts, seeds)
                for name, half in half_widths(rng, d).items():
                    held.setdefault(name, []).append(abs(d.mean() - facts[1]) <= half)
                    halves.setdefault(name, []).append(100 * half)
            line = {"data": kind, "seeds": seeds}
            line["coverage"] = {n: round(float(np.mean(v)), 4) for n, v in held.items()}
            line["half"] = {n: round(float(np.mean(v)), 4) for n, v in halves.items()}
            lines.append(line)
            print(line, flush=True)
    return lines


def main(repeats: int = 400, out: Path = ROOT / "benchmarks" / "images.json") -> None:
    """Simulate intervals that hold for new images, and write the file.

    Args:
        repeats: experiments of each kind.
        out: the file.
    """
    body = {"repeats": repeats, "images": IMAGES, "draws": DRAWS}
    body["kinds"] = simulate(repeats, [*KINDS])
    out.write_text(json.dumps(body, indent=1) + "\n")


if __name__ == "__main__":
    run_script(main)
