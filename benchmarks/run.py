"""Measure the shipped path beside the plain way: `python benchmarks/run.py [--quick]`.

`--device cuda` does it on a GPU, with as many workers side by side as its memory carries.

Plain is `benchmarks/plain.py`: one process on all cores. Ours is the shipped path with its
defaults: as many single-threaded workers as cores, each on its own run. The two sides take turns
for a second each, so that drift of the machine cancels; the table shows medians of their
throughputs and of the ratio turn by turn, with the smallest and largest. Operations are counted by
PyTorch's `FlopCounterMode` on the shipped model (a training step counts three forward passes), and
given as a fraction of the float32 matrix-product rate measured here on all cores.

The whole experiment follows from these rates: its trainings and its passes, for plain with the ten
epochs of the first published version of this experiment and with ours. How the total grows with
workers, runs, draws and α is measured with real, small experiments.
"""

import json
import multiprocessing
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import data  # noqa: E402
import plain  # noqa: E402
from config import USUAL_EPOCHS, Recipe, Run, Sweep  # noqa: E402
from evaluate import BATCH_SIZE  # noqa: E402
from machine import offers, words  # noqa: E402
from machine.checks import UsageError, choose_device, fail  # noqa: E402
from models import DEFAULT_ARCHITECTURES  # noqa: E402
from noise import WeightNoise, noisy_parameters, unit_noise  # noqa: E402
from runner.costs import BACKWARD, flops  # noqa: E402
from train import initial_model, make_method, train_step  # noqa: E402

KINDS = ("clean step", "noisy step", "sweep pass")
PLAIN_EPOCHS = 10
SEEDS = 3
SMALL = "mlp --regimes clean --epochs 1 --train-size 12800"


def small(seeds: int = 1, draws: int = 4, strengths: int = 1, workers: int = 1) -> str:
    """Return the words of a small experiment: its models, and draws at how many non-zero α."""
    numbers = " ".join(map(str, range(seeds)))
    alphas = " ".join(f"{k / 8:g}" for k in range(strengths + 1))
    return f"{SMALL} --seeds {numbers} --draws {draws} --alphas {alphas} --workers {workers}"


GROWTH = {  # of the time, as one of them grows
    "workers": {n: small(seeds=4, draws=64, workers=n) for n in (1, 2)},
    "runs": {n: small(seeds=n) for n in (1, 2, 4, 8)},
    "draws": {n: small(draws=n) for n in (4, 16, 64)},
    "non-zero α": {n: small(strengths=n) for n in (1, 4, 16)},
}


def our_steps(name: str, alpha: float, data_dir: Path, device: torch.device) -> Iterator[int]:
    """Train as `train.train` does, and yield the number of images after each step."""
    dataset = data.load("mnist", data_dir)
    images, labels = dataset.train_images.to(device), dataset.train_labels.to(device)
    run = Run(name, "noisy" if alpha else "clean", 0, Recipe(alpha_train=alpha))
    model = initial_model(run).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    order, stream = torch.Generator().manual_seed(0), torch.Generator(device).manual_seed(1)
    method = make_method(run, model, stream)
    while True:
        for x, y in data.batches(images, labels, 128, order):
            train_step(method, optimizer, x, y)
            yield len(y)


def our_passes(name: str, data_dir: Path, device: torch.device) -> Iterator[int]:
    """Measure as `evaluate.sweep` does (α after α of a draw), and yield the images of a batch."""
    dataset = data.load("mnist", data_dir)
    images, labels = dataset.test_images.to(device), dataset.test_labels.to(device)
    model = initial_model(Run(name, "clean", 0)).to(device).eval()
    noise, draw = WeightNoise(model), 0
    while True:
        unit, draw = unit_noise(noisy_parameters(model), 0, 0, draw), draw + 1
        for alpha in Sweep().alphas[1:]:  # without α = 0
            with noise(alpha, unit=unit), torch.inference_mode():
                for x, y in data.batches(images, labels, BATCH_SIZE):
                    (model(x).double().argmax(1) == y).sum()
                    yield len(y)


def wait_for(device: torch.device) -> None:
    """Wait until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def serve(connection, ours: bool, threads: int, data_dir: Path, device: torch.device) -> None:
    """Be one side: for each (name, kind, seconds) asked, work and answer images per second.

    Beside it goes the most memory that this process has had so far, in MiB.
    """
    if ours:
        offers.prepare(threads)
    else:
        torch.set_num_threads(threads)
    work: dict[tuple[str, str], Iterator[int]] = {}
    while True:
        name, kind, seconds = connection.recv()
        if (name, kind) not in work:
            steps, passes = (our_steps, our_passes) if ours else (plain.steps, plain.passes)
            alpha = {"clean step": 0.0, "noisy step": 0.7}.get(kind)
            work.clear()  # one model at a time, as in a run
            where = data_dir, device
            made = passes(name, *where) if alpha is None else steps(name, alpha, *where)
            work[name, kind] = made
            next(made)  # the first step pays for what is set up once
            wait_for(device)
        images, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            images += next(work[name, kind])
        wait_for(device)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        connection.send((images / (time.perf_counter() - began), memory))


def matmul_rate(device: torch.device, size: int = 2048) -> float:
    """Return the float32 matrix-product rate of the device (all cores), in operations per second.

    By the faster of the libraries that PyTorch has for it: MKL, and oneDNN, whose products are the
    1×1 convolutions. On processors that are not Intel's, MKL may use half of their vector width.
    """
    torch.set_num_threads(offers.cores())
    a, b = torch.randn(2, size, size, device=device)
    image = a.view(1, size, 1, size).permute(0, 3, 1, 2)  # (size, size) -> (1, size, size, 1)
    kernels = b.view(size, size, 1, 1)
    times = []
    for product in (lambda: a @ b.T, lambda: F.conv2d(image, kernels)):
        for _ in range(8):
            began = time.perf_counter()
            product()
            wait_for(device)
            times.append(time.perf_counter() - began)
    return 2 * size**3 / min(times)


def compare(
    name: str, turns: int, seconds: float, peak: float, data_dir: Path, device: torch.device
) -> list[dict]:
    """Return a row for each kind of work on one architecture, by fresh processes."""
    context = multiprocessing.get_context("spawn")
    processes = []

    def start(ours: bool, threads: int):
        mine, theirs = context.Pipe()
        arguments = (theirs, ours, threads, data_dir, device)
        processes.append(context.Process(target=serve, args=arguments, daemon=True))
        processes[-1].start()
        return mine

    cores = offers.cores()
    workers = offers.default_workers(device, threads=1, runs=cores)
    sides = {"plain": [start(False, cores)], "ours": [start(True, 1) for _ in range(workers)]}

    def turn(side: str, kind: str) -> tuple[float, float]:
        for connection in sides[side]:
            connection.send((name, kind, seconds))
        rates, memories = zip(*(connection.recv() for connection in sides[side]), strict=True)
        return sum(rates), max(memories)

    rows = []
    for kind in KINDS:
        found: dict[str, list[tuple[float, float]]] = {"plain": [], "ours": []}
        for n in range(turns):
            for side in ("plain", "ours") if n % 2 else ("ours", "plain"):
                found[side].append(turn(side, kind))
        ours, plains = ([rate for rate, _ in found[side]] for side in ("ours", "plain"))
        ratios = [a / b for a, b in zip(ours, plains, strict=True)]
        work = flops(name, "mnist") * (1 if kind == "sweep pass" else BACKWARD)
        rows.append(
            {
                "architecture": name,
                "work": kind,
                "plain_images_per_s": round(statistics.median(plains), 1),
                "ours_images_per_s": round(statistics.median(ours), 1),
                "ratio": round(statistics.median(ratios), 2),
                "ratio_min": round(min(ratios), 2),
                "ratio_max": round(max(ratios), 2),
                "fraction_of_peak": round(statistics.median(ours) * work / peak, 3),
                "worker_peak_mib": round(found["ours"][-1][1]),
            }
        )
        print(*(f"{value!s:>12}" for value in rows[-1].values()), flush=True)
    for process in processes:
        process.terminate()
    return rows


def whole(rows: list[dict], side: str, epochs: int) -> float:
    """Return the minutes of trainings and sweeps in the default plan of the architectures there.

    Args:
        rows: of `compare`.
        side: "plain" or "ours".
        epochs: of each training.
    """
    images = data.DATASETS["mnist"].train_count * epochs * SEEDS
    passes = data.DATASETS["mnist"].test_count * len(Sweep().points) * SEEDS * 2  # regimes
    count = {"clean step": images, "noisy step": images, "sweep pass": passes}
    return sum(count[row["work"]] / row[f"{side}_images_per_s"] for row in rows) / 60


def growth(data_dir: Path, device: torch.device) -> dict[str, dict[int, float]]:
    """Return the seconds of small experiments, start to finish, in which one thing grows."""
    found: dict[str, dict[int, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for what, sizes in GROWTH.items():
            for n, words in sizes.items():
                home = Path(folder, f"{len(found)}-{n}")
                line = [sys.executable, "run_experiments.py", *words.split()]
                line += ["--data-dir", data_dir, "--checkpoint-dir", home / "ckpt"]
                line += ["--results-dir", home / "results", "--device", device]
                began = time.perf_counter()
                subprocess.run(map(str, line), cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
                found.setdefault(what, {})[n] = round(time.perf_counter() - began, 1)
            print(f"{what:>10}: {', '.join(f'{n}: {s} s' for n, s in found[what].items())}")
    return found


def main(
    architectures: tuple[str, ...] = DEFAULT_ARCHITECTURES,
    quick: bool = False,
    device: str = "cpu",
    data_dir: Path = ROOT / "data",
    out: Path = ROOT / "benchmarks" / "results.json",
) -> None:
    """Measure, print a table and write it.

    Args:
        architectures: what to measure.
        quick: fewer turns, for under three minutes in all.
        device: where to compute: cpu, cuda, cuda:N or auto.
        data_dir: folder of the dataset files.
        out: where to write the results.
    """
    try:
        chosen = choose_device(device)
    except UsageError as error:
        fail(error)
    data_dir = data_dir.resolve()
    data.load("mnist", data_dir)
    turns, seconds = (3 if quick else 11), 1.0
    peak = matmul_rate(chosen)
    print(f"matrix products: {peak / 1e9:.0f} GFLOP/s; images/s of plain and of ours; their ratio:")
    print("median, min, max; ours as a fraction of the matrix products; peak MiB of a worker")
    given = turns, seconds, peak, data_dir, chosen
    rows = [row for name in architectures for row in compare(name, *given)]
    minutes = {}
    for names in (architectures, tuple(n for n in architectures if n != "vit")):
        part, epochs = [row for row in rows if row["architecture"] in names], USUAL_EPOCHS
        hours = whole(part, "plain", PLAIN_EPOCHS), whole(part, "plain", epochs)
        minutes[" ".join(names)] = found = {
            f"plain, {PLAIN_EPOCHS} epochs": round(hours[0], 1),
            f"plain, {epochs} epochs": round(hours[1], 1),
            f"ours, {epochs} epochs": round(whole(part, "ours", epochs), 1),
        }
        print(f"{' '.join(names)}, minutes: {', '.join(f'{k}: {v}' for k, v in found.items())}")
    body = {
        "turns": turns,
        "seconds": seconds,
        "matmul_gflops": round(peak / 1e9, 1),
        "machine": offers.provenance(chosen, 1),
        "rows": rows,
        "whole_minutes": minutes,
        "growth_seconds": {} if quick else growth(data_dir, chosen),
    }
    out.write_text(json.dumps(body, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    words.run(main)
