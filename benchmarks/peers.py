"""Phase-change memory beside aihwkit's inference path: `python benchmarks/peers.py`.

Needs `pip install --no-deps -r requirements-peers.txt`. The experiment's MLP and ResNet-18, and the
same weights in plain layers, which aihwkit converts: program once, then drift to four times with
global drift compensation, and a pass over the same images after each. aihwkit's side is its torch
tile, with perfect converters, so that weights are all that is noisy in both, and with its default
ones. Both take turns in one process, on one thread; the table shows medians and the ratio turn by
turn.
"""

import itertools
import json
import statistics
import sys
import time
from pathlib import Path

import torch
import torchvision
from torch import nn

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

import data  # noqa: E402
import models  # noqa: E402
from evaluate import measure, sweep  # noqa: E402
from machine import offers, words  # noqa: E402

TIMES = (1.0, 3600.0, 86400.0, 31536000.0)
BATCH = 500


def resnet18() -> nn.Module:
    """Return torchvision's, for ten classes: what the experiment's computes."""
    return torchvision.models.resnet18(num_classes=10)


def mlp() -> nn.Module:
    """Return the experiment's MLP in plain layers."""
    sizes = (3 * 28 * 28, 512, 256)
    body = [part for n, m in itertools.pairwise(sizes) for part in (nn.Linear(n, m), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *body, nn.Linear(256, 10))


PLAIN = {"mlp": mlp, "resnet18": resnet18}


def theirs_of(model: nn.Module, perfect: bool) -> nn.Module:
    """Return the same network with analog tiles."""
    from aihwkit.inference.compensation.drift import GlobalDriftCompensation
    from aihwkit.inference.noise.pcm import PCMLikeNoiseModel
    from aihwkit.nn.conversion import convert_to_analog
    from aihwkit.simulator.configs import TorchInferenceRPUConfig

    config = TorchInferenceRPUConfig(
        noise_model=PCMLikeNoiseModel(g_max=25.0), drift_compensation=GlobalDriftCompensation()
    )
    config.forward.is_perfect = perfect
    return convert_to_analog(model, config).eval()


def run_theirs(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> None:
    """Program, then drift and measure."""
    model.program_analog_weights()
    for seconds in TIMES:
        model.drift_analog_weights(seconds)
        measure(model, images, labels)


def run_ours(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, draw: int) -> None:
    """The same by `evaluate.sweep`."""
    points = [(seconds, draw, 1) for seconds in TIMES]
    rows = list(sweep(model, lambda m: measure(m, images, labels), points, 0, 0, "pcm"))
    assert len(rows) == len(TIMES)


def seconds_of(work, *given) -> float:
    """Return how long work takes, once."""
    start = time.perf_counter()
    work(*given)
    return time.perf_counter() - start


def main(turns: int = 3, images: int = 2000, out: Path | None = None) -> None:
    """Measure and print a table.

    Args:
        turns: repetitions, of which medians are taken.
        images: of a pass.
        out: a file for the numbers; None writes none.
    """
    offers.prepare(1)
    x = torch.randint(0, 256, (images, 28, 28), dtype=torch.uint8)
    y, rows = torch.randint(0, 10, (images,)), []
    pixels = next(data.batches(x[:8], y[:8], 8))[0]  # (8, 3, 28, 28)
    print("| network | converters | ours, s | aihwkit, s | ratio |\n|---|---|---|---|---|")
    for name, plain in PLAIN.items():
        for perfect in (True, False):
            torch.manual_seed(0)
            ours = models.build(name).eval()
            copy = nn.Sequential(ours.normalize, plain()).eval()
            for mine, other in zip(ours.parameters(), copy.parameters(), strict=True):
                other.data.copy_(mine)
            with torch.no_grad():
                assert torch.allclose(ours(pixels), copy(pixels), atol=1e-4)
            theirs = theirs_of(copy, perfect)
            with torch.no_grad():
                run_theirs(theirs, x[:BATCH], y[:BATCH])
                run_ours(ours, x[:BATCH], y[:BATCH], 0)
                pairs = [
                    (seconds_of(run_ours, ours, x, y, turn), seconds_of(run_theirs, theirs, x, y))
                    for turn in range(turns)
                ]
            mine, other = (statistics.median(side) for side in zip(*pairs))
            ratios = sorted(b / a for a, b in pairs)
            middle = statistics.median(ratios)
            words_of = "perfect" if perfect else "default"
            spread = f"{middle:.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f})"
            print(f"| {name} | {words_of} | {mine:.2f} | {other:.2f} | {spread} |", flush=True)
            rows.append({"network": name, "converters": words_of, "ours": mine, "aihwkit": other})
            rows[-1] |= {"ratio": middle, "ratio_min": ratios[0], "ratio_max": ratios[-1]}
    if out:
        facts = {"turns": turns, "images": images, "times": TIMES}
        body = facts | {"machine": offers.provenance(torch.device("cpu"), 1), "rows": rows}
        out.write_text(json.dumps(body, indent=1) + "\n")


if __name__ == "__main__":
    words.run(main)
