"""What drawing and applying each family costs beside a pass: `python benchmarks/noises.py`.

One thread, as a worker has. For each architecture, in turns: a draw, the noise put on and taken
off (`noise.WeightNoise`, as in `evaluate.sweep`), and a pass over 10,000 images; medians. A draw
serves all strengths of a family (at least its defaults), so its share is divided by their number.
Printed: milliseconds, and the share of drawing and applying in a sweep, in percent.
"""

import statistics
import sys
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

import models  # noqa: E402
import noises  # noqa: E402
from evaluate import measure  # noqa: E402
from machine import offers, words  # noqa: E402
from noise import WeightNoise, noisy_parameters  # noqa: E402


def seconds(work, *given) -> float:
    """Return how long work takes, once."""
    start = time.perf_counter()
    work(*given)
    return time.perf_counter() - start


def put_on(noise: WeightNoise, family: str, strength: float, unit: dict) -> None:
    """Let a model hold its noisy weights, and the clean ones again."""
    apply = None if family == "gaussian" else noises.find(family).apply
    with noise(strength, unit=unit, apply=apply):
        pass


def main(
    architectures: tuple[str, ...] = models.DEFAULT_ARCHITECTURES,
    families: tuple[str, ...] = tuple(noises.FAMILIES),
    turns: int = 5,
    images: int = 10_000,
) -> None:
    """Measure and print a table.

    Args:
        architectures: whose weights.
        families: keys of `noises.FAMILIES`.
        turns: repetitions, of which medians are taken.
        images: of a pass.
    """
    offers.prepare(1)
    x = torch.randint(0, 256, (images, 28, 28), dtype=torch.uint8)
    y = torch.randint(0, 10, (images,))
    for name in architectures:
        model = models.build(name).eval()
        noise, parameters = WeightNoise(model), noisy_parameters(model)
        count = sum(p.numel() for p in parameters.values())
        passes, rows = [], {family: ([], []) for family in families}
        for turn in range(turns):
            passes.append(seconds(measure, model, x, y))
            for family, (draws, applications) in rows.items():
                draws.append(seconds(noises.draw, family, parameters, 0, 0, turn))
                unit = noises.draw(family, parameters, 0, 0, turn)
                middle = noises.find(family).strengths[len(noises.find(family).strengths) // 2]
                applications.append(seconds(put_on, noise, family, middle, unit))
        one = 1e3 * statistics.median(passes)
        print(f"\n{name}: {count:,} noisy weights, a pass over {images:,} images {one:.0f} ms\n")
        print("| family | draw, ms | strengths | apply, ms | share of a sweep |")
        print("|---|---|---|---|---|")
        for family, measured in rows.items():
            draw, application = (1e3 * statistics.median(times) for times in measured)
            strengths = len(noises.find(family).strengths)
            extra = draw / strengths + application
            share = extra / (extra + one)
            print(f"| {family} | {draw:.1f} | {strengths} | {application:.1f} | {share:.1%} |")


if __name__ == "__main__":
    words.run(main)
