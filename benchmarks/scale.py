"""What planning, recording and reporting cost for a large plan: `python benchmarks/scale.py`.

The shipped program does a plan of 2,400 runs in 48 tasks, `--shard I/48` each, as a job array does;
only `execute` is exchanged for a stub that sleeps 10 ms in place of training and measuring and then
leaves a record of the usual size. Then come the report, and the merge of 48 folders. The table
shows core-seconds, and their share of two wholes: of all that was done here, the stubs' 24 s
included, and of 2,400 real runs, at the times that the records under `--real` say.

Checkpoints are measured on the side, with each architecture's own weights: stubs have none.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import run_experiments  # noqa: E402
import runner.execute  # noqa: E402
from analysis.needs import needs  # noqa: E402
from config import Run, Sweep  # noqa: E402
from machine import offers, words  # noqa: E402
from runner.costs import cost, shards  # noqa: E402
from runner.overview import seconds_of  # noqa: E402
from store import checkpoints, records  # noqa: E402
from store.folders import Folders  # noqa: E402
from store.plan import Plan  # noqa: E402
from store.plan_file import load_plan, plan_path  # noqa: E402
from train import initial_model  # noqa: E402

STUB = 0.010  # seconds of a stub run
IMAGES = 10_000


def correct(run: Run, alpha: float, draw: int) -> int:
    """Return the count of correct answers that a stub pretends to have measured."""
    return IMAGES - run.seed - draw - round(1000 * alpha) - 7 * (run.regime == "noisy")


def stub(run: Run, sweep: Sweep, folders: Folders, device, provenance: dict, tell, *_) -> None:
    """Sleep in place of the work of `execute.execute`, tell what it tells, and leave a record."""
    began = time.monotonic()
    time.sleep(STUB)
    slept = time.monotonic() - began
    epochs, known = run.recipe.epochs, {"loss": 0.1, "accuracy": 0.9}
    for epoch in range(1, epochs + 1):
        tell("epoch", epoch=epoch, of=epochs, seconds=STUB / epochs, **known)
    facts = {
        "training": {**provenance, "epoch_seconds": [STUB]},
        "measuring": {**provenance, "seconds": 0.0},
    }
    record = records.new(run, 64 * "0", [0.1] * run.recipe.epochs, facts)
    while blocks := needs(record, sweep):
        for block in blocks:
            rows = [[*p, correct(run, *p[:2]), IMAGES, 123.456 * (p[1] + 1)] for p in block.points]
            record = records.add(record, block.settings, rows)
    records.save(folders.record(run), record)
    tell("saved", done=1, of=1)
    tell("timing", began=began, slept=slept)


runner.execute.execute = stub  # here, and in the workers, which import this file


def task(born: float, output: Path, *words: str) -> None:
    """Be one task of the array, and write down how its time was spent."""
    spent = {"processes": time.time() - born}
    timings: list[dict] = []
    last = 0.0  # when the last run was done

    class Progress(run_experiments.Progress):
        def __call__(self, run: Run, kind: str, facts: dict) -> None:
            nonlocal last
            super().__call__(run, kind, facts)
            last = time.monotonic()
            if kind == "timing":
                timings.append(facts)

    def run_all(*args, do=run_experiments.run_all, **more):
        if "planning" in spent:  # again, for a second stage
            return do(*args, **more)
        began = time.monotonic()
        spent["planning"] = began - start
        failed = do(*args, **more)
        if timings:
            first = min(t["began"] for t in timings)
            spent["processes"] += first - began
            spent["stub runs"] = sum(t["slept"] for t in timings)
            spent["recording"] = last - first - spent["stub runs"]
            spent["processes"] += time.monotonic() - last
        return failed

    run_experiments.Progress, run_experiments.run_all = Progress, run_all
    sys.argv = ["run_experiments.py", *words]
    start = time.monotonic()
    status = run_experiments.main()
    output.write_text(json.dumps(spent))
    sys.exit(status)


def run_task(home: Path, index: int, count: int, words: list[str]) -> dict[str, float]:
    """Run one task of the array in a process of its own; return how its time was spent."""
    output = home / f"spent{index}.json"
    line = [sys.executable, __file__, "task", str(time.time()), str(output), *words]
    line += ["--shard", f"{index}/{count}", "--workers", "1", "--device", "cpu"]
    with open(home / f"log{index}.txt", "w") as log:
        subprocess.run(line, cwd=ROOT, check=True, stdout=log)
    return json.loads(output.read_text())


def timed(*words) -> float:
    """Run one of the scripts; return the seconds that it took."""
    began = time.monotonic()
    line = [sys.executable, *map(str, words)]
    subprocess.run(line, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def check_tables(results: Path, plan: Plan) -> None:
    """Check that the tables hold every run of the plan with the numbers of its stub."""
    sweep = pd.read_csv(results / "sweep.csv")
    summary = pd.read_csv(results / "summary.csv")
    assert len(summary) == len(plan.runs) and len(sweep) > len(plan.runs) * len(plan.sweep.points)
    found = {tuple(key): accuracy for *key, accuracy, _ in sweep.itertuples(index=False)}
    for run in plan.runs:
        for alpha, draw, _ in plan.sweep.points:
            expected = correct(run, alpha, draw) / IMAGES
            assert found[run.architecture, run.regime, run.seed, alpha, draw] == expected


def split(shared: Path, parts: list[list[Run]], home: Path) -> list[Path]:
    """Copy the records of each part into a results folder of its own."""
    folders = [home / f"part{n}" for n in range(len(parts))]
    for folder, part in zip(folders, parts, strict=True):
        (folder / "runs").mkdir(parents=True)
        shutil.copy(plan_path(shared), folder)
        for run in part:
            shutil.copy(shared / "runs" / f"{run.run_id}.json", folder / "runs")
    return folders


def checkpoint_seconds(run: Run, folder: Path) -> float:
    """Return the time to save a run's checkpoints: one after each epoch, and the final one."""
    model = initial_model(run)
    optimizer = torch.optim.AdamW(model.parameters())
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    content = checkpoints.finished(model, [0.1], {})
    began = time.monotonic()
    checkpoints.save(folder / "final.pt", run, content)
    final = time.monotonic() - began
    resume = {**content, "training": {"optimizer": optimizer.state_dict()}}
    checkpoints.save(folder / "resume.pt", run, resume)
    return final + (time.monotonic() - began - final) * (run.recipe.epochs - 1)


def real_seconds(folder: Path) -> dict[tuple[str, str], float]:
    """Return how long a run takes, by architecture and regime, as records say."""
    found: dict[tuple[str, str], list[float]] = {}
    for record in records.load_all(folder / "runs")[0]:
        who = record["identity"]
        found.setdefault((who["architecture"], who["regime"]), []).append(seconds_of(record))
    return {kind: sum(values) / len(values) for kind, values in found.items()}


def imbalance(loads: list[float]) -> str:
    """Return the smallest and the largest load against the mean, in words."""
    mean = sum(loads) / len(loads)
    return f"{min(loads) / mean - 1:+.1%} to {max(loads) / mean - 1:+.1%}"


def measure(plan_words: list[str], tasks: int, home: Path) -> tuple[Plan, dict]:
    """Do the whole of it; return the plan, and the seconds of each part."""
    shared, merged = home / "results", home / "merged"
    words = [*plan_words, "--data-dir", str(ROOT / "data")]
    words += ["--checkpoint-dir", str(home / "checkpoints"), "--results-dir", str(shared)]
    with ThreadPoolExecutor(offers.cores()) as pool:
        futures = [pool.submit(run_task, home, n + 1, tasks, words) for n in range(tasks)]
        spent = pd.DataFrame([future.result() for future in futures]).sum().to_dict()
    plan = load_plan(shared)
    spent["reporting"] = timed("report.py", "--results-dir", shared)
    check_tables(shared, plan)

    more = {"a task when all is done": sum(run_task(home, tasks, tasks, words).values())}
    more["--status"] = timed("run_experiments.py", *words, "--status")
    began = time.monotonic()
    parts = shards(plan.runs, tasks, plan.sweep)
    more["dividing the plan, in each task"] = time.monotonic() - began
    merge = ["report.py", "--results-dir", merged, "--merge", *split(shared, parts, home)]
    more["merging a folder of each task, and reporting"] = timed(*merge)
    more["the same again: nothing to merge"] = timed(*merge)
    for name in ("summary.csv", "sweep.csv"):
        assert (merged / name).read_bytes() == (shared / name).read_bytes()
    each = {name: checkpoint_seconds(Run(name, "clean", 0), home) for name in plan.architectures}
    spent["checkpoints"] = sum(each[run.architecture] for run in plan.runs)
    return plan, {"spent": spent, "more": more}


def table(body: dict) -> str:
    """Return what was measured as text."""
    spent, real, runs = dict(body["spent"]), body["real_seconds"], body["runs"]
    here = sum(spent.values()) - spent["checkpoints"]  # which stubs have not
    ours = {name: seconds for name, seconds in spent.items() if name != "stub runs"}
    ours["all but processes"] = sum(ours.values()) - ours["processes"]
    lines = [f"{'':18}{'core-s':>8}{'ms/run':>8}{'of all here':>13}{'of real runs':>14}"]
    for name, seconds in {**ours, "stub runs": spent["stub runs"]}.items():
        line = f"{name:18}{seconds:8.1f}{1000 * seconds / runs:8.2f}"
        line += f"{seconds / here:13.1%}" if name in spent and name != "checkpoints" else 13 * " "
        lines.append(line + (f"{seconds / real:14.3%}" if real and name in ours else ""))
    lines += ["", *(f"{seconds:8.2f} s  {name}" for name, seconds in body["more"].items())]
    lines += [f"tasks differ from their mean {name} by {x}" for name, x in body["balance"].items()]
    return "\n".join(lines)


def main(
    seeds: int = 300,
    tasks: int = 48,
    real: Path = ROOT / "results" / "reference",
    out: Path = ROOT / "benchmarks" / "scale.json",
) -> None:
    """Measure, print the table and write it.

    Args:
        seeds: seeds of each of four architectures in two regimes.
        tasks: tasks of the array.
        real: results folder whose records say how long real runs take.
        out: the file.
    """
    with tempfile.TemporaryDirectory() as folder:
        fixed = ["--draws", "10", "--seeds", *map(str, range(seeds))]  # each task ends with its own
        plan, found = measure(fixed, tasks, Path(folder))
    parts = shards(plan.runs, tasks, plan.sweep)
    known = real_seconds(real)
    balance = {"expected cost": imbalance([sum(cost(r, plan.sweep) for r in p) for p in parts])}
    work = None
    if all((run.architecture, run.regime) in known for run in plan.runs):
        loads = [sum(known[r.architecture, r.regime] for r in part) for part in parts]
        work, balance["real times"] = sum(loads), imbalance(loads)
    facts = offers.provenance(torch.device("cpu"), 1)
    body = {"provenance": facts, "runs": len(plan.runs), "tasks": tasks, "stub_seconds": STUB}
    body |= {"real_seconds": work, **found, "balance": balance}
    print(table(body))
    out.write_text(json.dumps(body, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["task"]:
        task(float(sys.argv[2]), Path(sys.argv[3]), *sys.argv[4:])
    words.run(main)
