"""`--verify`: finished runs, chosen at random, are trained or measured again and compared.

A run whose checkpoint is there is measured again, any other one trained anew. All that the record
holds is compared, and what is not is said. Nothing is written.
How they are compared: `runner.verdict`.
"""

import functools
import random
from dataclasses import replace

import torch
from torch import nn

from config import Run
from data import Dataset
from machine import offers
from machine.checks import UsageError, number_of
from runner.costs import cost
from runner.events import Kind
from runner.execute import load_dataset, traits_of
from runner.listeners import Progress
from runner.measuring import Measuring, blocks_of, traces
from runner.overview import Shelf, look
from runner.pool import run_jobs
from runner.serving import Later, stopping
from runner.trained import tell_epoch
from runner.verdict import CONSISTENT, CONTRADICTS, SAME, Again, judge
from store import checkpoints, records
from store.files import Damaged, Foreign
from store.folders import Folders
from store.plan import Plan
from store.records import Record
from train import Stopped, initial_model, train


def verify(
    plan: Plan,
    folders: Folders,
    device: torch.device,
    threads: int,
    workers: int | None,
    count: int,
) -> int:
    """Verify `count` finished runs of a plan; print the verdicts and return the exit status.

    Raises:
        UsageError: if none is finished.
        KeyboardInterrupt: on Ctrl-C and the like, when no worker is left.
    """
    shelf = Shelf(folders)
    finished = [
        run
        for run in plan.runs
        if look(run, plan.sweep_of(run), plan.all_regimes, shelf)[0] == "complete"
    ]
    if not finished:
        raise UsageError(f"--verify: no run of the plan is finished in {folders.results}")
    chosen = random.SystemRandom().sample(finished, min(count, len(finished)))
    print(f"Verifying {len(chosen)} of {number_of(len(finished), 'finished run')}", flush=True)
    here = offers.provenance(device, threads)
    do = functools.partial(
        verify_run, plan=plan, folders=folders, device=str(device), provenance=here
    )
    words: list[str] = []
    with Progress({run: cost(run, plan.sweep) for run in chosen}) as progress:

        def on_event(run: Run, kind: str, facts: dict) -> None:
            progress(run, kind, facts)
            if kind == Kind.VERDICT:
                words.append(facts["word"])
                progress.say(run, f"{facts['word']}: {facts['text']}")

        workers = workers or offers.default_workers(device, threads, len(chosen))
        prepare = functools.partial(offers.prepare, threads, here["code"])
        failed = run_jobs(chosen, do, workers, on_event, prepare)
    counted = [f"{words.count(w)} {w}" for w in (SAME, CONSISTENT, CONTRADICTS) if w in words]
    counted += [f"{len(failed)} not verified"] if failed else []
    print(f"\n{number_of(len(chosen), 'run')}: {', '.join(counted)}")
    return 1 if failed or CONTRADICTS in words else 0


def verify_run(run: Run, tell, plan: Plan, folders: Folders, device: str, provenance: dict) -> None:
    """Verify one run in a worker, and tell the verdict."""
    record = records.load(folders.record(run))
    try:
        again = repeat(run, record, tell, plan, folders, torch.device(device))
    except Stopped as error:
        raise Later(str(error)) from None
    word, text = judge(record, again, find_others(run, folders), provenance)
    tell(Kind.VERDICT, word=word, text=text)


def find_others(run: Run, folders: Folders) -> list[Record]:
    """Return the records of a run's architecture, regime and recipe from other seeds, whatever the
    plan asks for."""
    alike, found = run.identity, []
    for path in sorted(folders.record(run).parent.glob(f"{run.architecture}-{run.regime}-*.json")):
        try:
            other = records.load(path)
        except (FileNotFoundError, Damaged, Foreign):
            continue
        if other["run_id"] != run.run_id and {**other["identity"], "seed": run.seed} == alike:
            found.append(other)
    return found


def repeat(
    run: Run, record: Record, tell, plan: Plan, folders: Folders, device: torch.device
) -> Again:
    """Train a run anew, unless its checkpoint is there, and measure all that its record holds,
    whatever the plan asks for."""
    dataset = load_dataset(run, replace(plan.sweep, test_size=0), folders.data)
    model, told = model_of(run, dataset, tell, folders, device)
    model.register_forward_pre_hook(lambda *_: (stopping(), None)[1])  # each is a sign of life
    found = {k: v for k, v in record.items() if k not in ("curvature", "realised")} | {
        "weights": checkpoints.content_digest(model.state_dict()),
        "history": told["history"],
        "measurements": [],
        "traits": traits_of(model, dataset),
        **({"realised": told["realised"]} if "realised" in told else {}),
    }
    same_weights = found["weights"] == record["weights"]
    blocks, unknown = blocks_of(record, model)
    curved, others = traces(record)
    if not same_weights:  # of other weights it is another one
        curved, others = [], others + len(curved)
    measuring, done = Measuring(model, dataset, run), 0
    total = sum(len(block.points) for block in (*blocks, *curved))

    def count() -> None:
        nonlocal done
        done += 1
        tell(Kind.POINT, done=done, of=total)
        if stopping():
            raise Stopped(f"after {done} of {total} measurements")

    for block in blocks:
        rows = []
        for row in measuring.rows_of(block):
            rows.append(row)
            count()
        found = records.add(found, block.settings, rows)
    for block in curved:
        found = records.add_curvature(found, measuring.traces_of(block))
        count()
    left = [number_of(unknown, "measurement")] if unknown else []
    left += [number_of(others, "Hessian estimate")] if others else []
    return Again(found, told["trained"], tuple(left))


def model_of(
    run: Run, dataset: Dataset, tell, folders: Folders, device: torch.device
) -> tuple[nn.Module, dict]:
    """Return the trained model of a run, and what is known of its training: its history, what it
    realised (if that is known), and whether it was trained just now."""
    try:
        content = checkpoints.load(checkpoints.final_path(folders.checkpoints, run), run)
    except (FileNotFoundError, Damaged, Foreign):
        told: dict = {"trained": True}

        def keep(state: dict) -> None:
            told["realised"] = state["realised"]
            if state["training"]["step"] == 0:
                tell_epoch(tell, state, 0.0)

        model, told["history"] = train(run, dataset, device, None, keep, stopping)
        return model, told
    model = initial_model(run)
    model.load_state_dict(content["model"])
    return model.to(device).eval(), {**content, "trained": False}
