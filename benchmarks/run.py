"""Measure the shipped path beside the plain way: `python benchmarks/run.py [--quick]`.

Plain is `benchmarks/plain.py`: one process on all cores. Ours is the shipped path with its
defaults: as many single-threaded workers as cores, each on its own run. The two sides take turns
for a few seconds each, so that drift of the machine cancels; the table shows medians of their
throughputs and of the ratio turn by turn, with the smallest and largest. Operations are counted by
PyTorch's `FlopCounterMode` on the shipped model (a training step counts three forward passes), and
given as a fraction of the float32 matrix-product rate measured here on all cores.
"""

import json
import multiprocessing
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import tyro

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import data  # noqa: E402
import machine  # noqa: E402
import plain  # noqa: E402
from config import Recipe, Run  # noqa: E402
from evaluate import BATCH_SIZE  # noqa: E402
from models import DEFAULT_ARCHITECTURES  # noqa: E402
from noise import WeightNoise, noisy_parameters, unit_noise  # noqa: E402
from train import initial_model, train_step  # noqa: E402
from workload import BACKWARD, flops  # noqa: E402

KINDS = ("clean step", "noisy step", "sweep pass")


def our_steps(name: str, alpha: float, data_dir: Path) -> Iterator[int]:
    """Train as `train.train` does, and yield the number of images after each step."""
    dataset = data.load("mnist", data_dir)
    run = Run(name, "noisy", 0, Recipe(alpha_train=alpha))
    model = initial_model(run).train()
    noise = WeightNoise(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    order, stream = torch.Generator().manual_seed(0), torch.Generator().manual_seed(1)
    while True:
        for x, y in data.batches(dataset.train_images, dataset.train_labels, 128, order):
            train_step(model, noise, alpha, stream, optimizer, x, y)
            yield len(y)


def our_passes(name: str, data_dir: Path) -> Iterator[int]:
    """Measure as `evaluate.sweep` does (α after α of a draw), and yield the images of a batch."""
    dataset = data.load("mnist", data_dir)
    model = initial_model(Run(name, "clean", 0)).eval()
    noise, draw = WeightNoise(model), 0
    while True:
        unit, draw = unit_noise(noisy_parameters(model), 0, 0, draw), draw + 1
        for alpha in (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0):
            with noise(alpha, unit=unit), torch.inference_mode():
                for x, y in data.batches(dataset.test_images, dataset.test_labels, BATCH_SIZE):
                    (model(x).double().argmax(1) == y).sum()
                    yield len(y)


def serve(connection, ours: bool, threads: int, data_dir: Path) -> None:
    """Be one side: for each (name, kind, seconds) asked, work and answer images per second."""
    if ours:
        machine.prepare(threads)
    else:
        torch.set_num_threads(threads)
    work: dict[tuple[str, str], Iterator[int]] = {}
    while True:
        name, kind, seconds = connection.recv()
        if (name, kind) not in work:
            steps, passes = (our_steps, our_passes) if ours else (plain.steps, plain.passes)
            alpha = {"clean step": 0.0, "noisy step": 0.7}.get(kind)
            work.clear()  # one model at a time, as in a run
            made = passes(name, data_dir) if alpha is None else steps(name, alpha, data_dir)
            work[name, kind] = made
            next(made)  # the first step pays for what is set up once
        images, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            images += next(work[name, kind])
        connection.send(images / (time.perf_counter() - began))


def matmul_rate(size: int = 2048) -> float:
    """Return the float32 matrix-product rate of all cores, in operations per second."""
    torch.set_num_threads(machine.cores())
    a, b = torch.randn(size, size), torch.randn(size, size)
    times = []
    for _ in range(8):
        began = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - began)
    return 2 * size**3 / min(times)


def compare(names: list[str], turns: int, seconds: float, data_dir: Path) -> list[dict]:
    """Return a row for each architecture and kind of work."""
    context = multiprocessing.get_context("spawn")

    def start(ours: bool, threads: int):
        mine, theirs = context.Pipe()
        arguments = (theirs, ours, threads, data_dir)
        context.Process(target=serve, args=arguments, daemon=True).start()
        return mine

    cores, peak = machine.cores(), matmul_rate()
    sides = {"plain": [start(False, cores)], "ours": [start(True, 1) for _ in range(cores)]}

    def turn(side: str, name: str, kind: str) -> float:
        for connection in sides[side]:
            connection.send((name, kind, seconds))
        return sum(connection.recv() for connection in sides[side])

    rows = []
    for name in names:
        for kind in KINDS:
            rates: dict[str, list[float]] = {"plain": [], "ours": []}
            for n in range(turns):
                for side in ("plain", "ours") if n % 2 else ("ours", "plain"):
                    rates[side].append(turn(side, name, kind))
            ratios = [a / b for a, b in zip(rates["ours"], rates["plain"], strict=True)]
            ours = statistics.median(rates["ours"])
            work = flops(name) * (1 if kind == "sweep pass" else BACKWARD)
            rows.append(
                {
                    "architecture": name,
                    "work": kind,
                    "plain_images_per_s": round(statistics.median(rates["plain"]), 1),
                    "ours_images_per_s": round(ours, 1),
                    "ratio": round(statistics.median(ratios), 2),
                    "ratio_min": round(min(ratios), 2),
                    "ratio_max": round(max(ratios), 2),
                    "fraction_of_peak": round(ours * work / peak, 3),
                }
            )
            print(*(f"{value!s:>12}" for value in rows[-1].values()), flush=True)
    return rows


def main(
    architectures: tuple[str, ...] = DEFAULT_ARCHITECTURES,
    quick: bool = False,
    data_dir: Path = ROOT / "data",
    out: Path = ROOT / "benchmarks" / "results.json",
) -> None:
    """Measure, print a table and write it.

    Args:
        architectures: what to measure.
        quick: shorter turns, for under three minutes in all.
        data_dir: folder of the dataset files.
        out: where to write the results.
    """
    data.load("mnist", data_dir)
    turns, seconds = (3, 1.5) if quick else (7, 4.0)
    facts = machine.provenance(torch.device("cpu"), 1)
    print("architecture, work, plain and ours in images/s, ratio (median, min, max), of peak")
    rows = compare(list(architectures), turns, seconds, data_dir)
    body = {"turns": turns, "seconds": seconds, "machine": facts, "rows": rows}
    out.write_text(json.dumps(body, indent=1) + "\n")


if __name__ == "__main__":
    tyro.cli(main)
