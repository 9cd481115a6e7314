"""What a sweep costs beside a loop by hand: `python benchmarks/own.py`.

Two models as they are, torchvision's ResNet-18 on 32×32 images and a GRU that reads tokens. By hand
is what one would write for one's own model: for each draw and strength keep the weights, add noise,
count, put them back. The two sides take turns in one process, on the same threads; the table shows
medians and the ratio turn by turn. Memory is what a process of its own grows by at most while it
measures two draws on one example, in copies of the noisy weights (as its size is looked at every
millisecond; of the ResNet alone, for the GRU's are too few).
"""

import json
import resource
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import torch
import torchvision
from torch import nn

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from evaluate import sweep  # noqa: E402
from machine import offers, words  # noqa: E402
from noise import noisy_parameters  # noqa: E402
from sources.examples import Batches, count  # noqa: E402

ALPHAS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.4)
DRAWS = 1


class Reader(nn.Module):
    """A GRU of 256 units on 32 tokens."""

    def __init__(self):
        super().__init__()
        self.word = nn.Embedding(1000, 128)
        self.layer, self.head = nn.GRU(128, 256, batch_first=True), nn.Linear(256, 10)

    def forward(self, x):  # (B, 32) -> (B, 10)
        return self.head(self.layer(self.word(x))[0][:, -1])


def resnet18() -> tuple[nn.Module, list]:
    """Return torchvision's, and 1,024 images in batches of 128."""
    x, y = torch.randn(1024, 3, 32, 32), torch.arange(1024) % 10
    return torchvision.models.resnet18(num_classes=10), list(zip(x.split(128), y.split(128)))


def gru() -> tuple[nn.Module, list]:
    """Return the reader, and 1,024 texts in batches of 128."""
    x, y = torch.randint(0, 1000, (1024, 32)), torch.arange(1024) % 10
    return Reader(), list(zip(x.split(128), y.split(128)))


MODELS = {"resnet18, 32×32": resnet18, "gru": gru}


@torch.no_grad()
def by_hand(model: nn.Module, batches: list) -> list[float]:
    """Return accuracies, as one would write it for one's own model."""
    found = []
    weights = noisy_parameters(model)
    for draw in range(DRAWS):
        generator = torch.Generator().manual_seed(draw)
        z = {name: torch.randn(p.shape, generator=generator) for name, p in weights.items()}
        for alpha in ALPHAS:
            clean = {name: p.clone() for name, p in weights.items()}
            for name, p in weights.items():
                p.add_(alpha * p.std() * z[name])
            correct = total = 0
            loss = 0.0
            for x, y in batches:
                logits = model(x)
                correct += (logits.argmax(1) == y).sum().item()
                loss += nn.functional.cross_entropy(logits, y, reduction="sum").item()
                total += len(y)
            found.append(correct / total)
            for name, p in weights.items():
                p.copy_(clean[name])
    return found


def ours(model: nn.Module, batches: list) -> list[float]:
    """Return accuracies by `evaluate.sweep`."""
    data = Batches(lambda: batches)
    points = [(alpha, draw, 1) for draw in range(DRAWS) for alpha in ALPHAS]
    rows = sweep(model, lambda net: count(net, data.on(torch.device("cpu"))), points, 0, 0)
    return [row[3] / row[4] for row in rows]


SIDES = {"by hand": by_hand, "ours": ours}


def compare(name: str, turns: int) -> dict:
    """Return the seconds of both sides, in turns."""
    torch.manual_seed(0)
    model, batches = MODELS[name]()
    model.eval()
    for side in SIDES.values():
        side(model, batches)
    seconds: dict[str, list[float]] = {name: [] for name in SIDES}
    for _ in range(turns):
        for side, work in SIDES.items():
            start = time.perf_counter()
            work(model, batches)
            seconds[side].append(time.perf_counter() - start)
    ratios = [a / b for a, b in zip(seconds["ours"], seconds["by hand"], strict=True)]
    return {
        "model": name,
        **{side: statistics.median(found) for side, found in seconds.items()},
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
    }


def peak(name: str, side: str) -> float:
    """Return the peak memory of a side in a process of its own, beyond a pass, in copies."""
    line = [sys.executable, __file__, "--only", name, "--side", side]
    return json.loads(subprocess.run(line, capture_output=True, text=True, check=True).stdout)


def peak_here(name: str, side: str) -> float:
    """The same, in this process."""
    model, [(x, y), *_] = MODELS[name]()
    model.eval()
    one = [(x[:1], y[:1])]
    count(model, one)
    size = sum(p.numel() * p.element_size() for p in noisy_parameters(model).values())
    before, sizes, going = resident(), [0], True

    def look() -> None:
        while going:
            sizes.append(resident())
            time.sleep(0.001)

    watch = threading.Thread(target=look)
    watch.start()
    SIDES[side](model, one)
    going = False
    watch.join()
    return round((max(sizes) - before) / size, 2)


def resident() -> int:
    """Return the bytes of main memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def main(turns: int = 7, threads: int = 0, only: str = "", side: str = "") -> None:
    """Compare, and write benchmarks/own.json.

    Args:
        turns: of both sides.
        threads: of both; 0 = all cores.
        only, side: print the memory of this one.
    """
    torch.set_num_threads(threads or offers.cores())
    if only:
        global DRAWS
        DRAWS = 2
        print(peak_here(only, side))
        return
    rows = []
    for name in MODELS:
        row = compare(name, turns)
        if name.startswith("resnet"):
            row |= {f"memory {s}": peak(name, s) for s in SIDES}
        rows.append(row)
        print(
            f"{name}: by hand {row['by hand']:.2f} s, ours {row['ours']:.2f} s, ours / by hand "
            f"{row['ratio']:.2f} ({row['ratio_min']:.2f} to {row['ratio_max']:.2f})"
            + "".join(f"; {k}: {row[k]:.1f} copies" for k in row if k.startswith("memory")),
            flush=True,
        )
    facts = offers.provenance(torch.device("cpu"), torch.get_num_threads())
    body = {"provenance": facts, "strengths": len(ALPHAS), "draws": DRAWS, "rows": rows}
    (ROOT / "benchmarks" / "own.json").write_text(json.dumps(body, indent=1) + "\n")


if __name__ == "__main__":
    words.run(main)
