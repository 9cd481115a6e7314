"""Plan the runs, print the plan, execute what is missing, report.

    python run_experiments.py                      # four architectures, clean and noisy, 3 seeds
    python run_experiments.py mlp cnn resnet18     # some of them; a later run adds the others
    python run_experiments.py --help

Exit status: 0 what was asked for is complete, 1 a run failed, 2 wrong input (nothing was
written), 130 interrupted.
"""

from machine.process import steady_output  # first: it checks Python's version

import contextlib
import functools
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

import data
from analysis.needs import check_families
from config import Run, Sweep
from machine import offers
from machine.checks import UsageError, choose_device, fail, number_of
from models import ARCHITECTURES
from runner import claims, listeners, options, pictures, second, verify
from runner.costs import cost, first_cost, second_cost, shards
from runner.events import Kind
from runner.execute import work
from runner.fixing import fix_seeds
from runner.forget import forget_asked
from runner.listeners import Progress
from runner.overview import describe, describe_status, find_behind, states_of
from runner.pool import run_jobs
from runner.second import settle
from runner.signals import SIGNALS, Requeue, how_to_go_on, requeue, watch_signals
from runner.trained import without_weights
from store import records
from store.files import Damaged, clear_leftovers
from store.folders import Folders
from store.plan import Plan
from store.plan_file import ask, load_plan, plan_path


def main() -> int:
    """Run the program; return its exit status."""
    steady_output()
    watch_signals()
    try:
        return run()
    except Requeue:
        print("\nOut of time: what was done is saved; the job is put back in the queue", flush=True)
        return requeue(os.environ["SLURM_JOB_ID"])
    except KeyboardInterrupt:
        print("\nInterrupted; what was done is saved. " + how_to_go_on(), file=sys.stderr)
        return 130
    finally:
        for number in SIGNALS:  # to die of one while Python shuts down would look like a failure
            signal.signal(number, signal.SIG_IGN)


def run() -> int:
    """Plan, execute and report, as the command line asks; return the exit status."""
    started = time.monotonic()
    asked = options.read()
    folders = Folders(asked.data_dir, asked.checkpoint_dir, asked.results_dir)
    try:
        options.check(asked)
        plan = options.make_plan(asked)
        if asked.forget:
            print(forget_asked(folders.results, asked))
            return 0
        if asked.status:
            if plan_path(folders.results).exists():
                plan = options.as_in(usable_plan(folders.results), asked)
            print(describe_status(join_earlier_plan(plan, folders), folders))
            if not folders.results.is_dir():
                print(f"nothing was run yet: there is no folder {folders.results}")
            return 0
        if asked.verify:
            return verify_asked(plan, folders, asked)
        join_earlier_plan(plan, folders)  # which one of another version refuses
        device = choose_device(asked.device)
        data.load(plan.recipe.dataset, folders.data)  # fetched once, before the workers start
        prepare_folders(folders, plan)
        plan = settle(plan, folders)
    except (UsageError, data.DataError, Damaged, OSError) as error:
        fail(error)

    index, count = options.read_shard(asked.shard)
    part = shards(plan.runs, count, plan.sweep)[index - 1] if asked.shard else plan.runs
    states = states_of(part, plan, folders)
    print(describe(plan, states, folders), flush=True)
    for line in second.describe_second(plan, plan.architectures):
        print(f"  {line}", flush=True)
    if asked.shard:
        print(f"  shard {index} of {count}: {len(part)} of {len(plan.runs)} runs", flush=True)
    todo = [run for run, state in states.items() if state != "complete"]
    for run in todo:
        if states[run] == "lacking":
            print(f"  cannot go on: {without_weights(run, folders)}", flush=True)
    for run in states.keys() - todo:
        with contextlib.suppress(OSError):  # it is read as a whole as it is
            records.settle(folders.record(run))
        claims.clear(folders.results, run)
    todo.sort(key=lambda run: -cost(run, plan.sweep))  # longest first: all cores end together
    workers = asked.workers or offers.default_workers(device, asked.threads, len(todo))
    if todo:
        print(
            f"\n{number_of(len(todo), 'run')} to do, {workers} at a time, on {device}", flush=True
        )
    tables = Tables(folders.results, alone=not asked.shard)
    track = functools.partial(listeners.track, folders, plan.sweep) if asked.tensorboard else None
    go = functools.partial(
        run_all, folders=folders, device=device, threads=asked.threads, tables=tables, track=track
    )
    later = sum(second_cost(run, plan.sweep) for run in part)
    failed = go(todo, plan=plan, workers=workers, later=later)
    if plan.sweep.find_break:  # the regimes of a seed go on to the later break of them
        behind = [run for run in find_behind(todo, plan, folders) if run not in failed]
        if behind:
            count = number_of(len(behind), "run")
            print(f"{count} to measure on, as far as the other regime of the seed", flush=True)
        failed |= go(behind, plan=plan, workers=min(workers, len(behind)), later=later)
    with contextlib.suppress(Damaged, OSError):  # the folder is gone, and the runs have said so
        plan = settle(plan, folders)  # its draws go on from here, where all have their first ones
    left = second.left(plan, [run for run in part if run not in failed], folders)
    workers = asked.workers or offers.default_workers(device, asked.threads, len(left))
    failed |= go(left, plan=plan, workers=workers, price=second_cost)
    print("".join(f"\n{line}\n" for line in second.say_open(plan, folders)), end="", flush=True)
    if not asked.shard:
        pictures.keep(plan, folders)
    written = tables.finish()
    minutes = (time.monotonic() - started) / 60
    print(f"\n{minutes:.1f} min; results are in {folders.results}/ (open report.html)")
    if failed:
        tried = len({*todo, *left, *failed})
        print(f"\n{len(failed)} of {tried} runs failed:", file=sys.stderr)
        for run, reason in failed.items():
            print(f"  {run.run_id}: {reason}", file=sys.stderr)
        if any(states.get(run) == "lacking" for run in failed):
            print(
                "Before it can go on, bring those weights, or move those records away.",
                file=sys.stderr,
            )
        print("Nothing finished is lost. " + how_to_go_on(), file=sys.stderr)
    return 0 if written and not failed else 1


def verify_asked(plan: Plan, folders: Folders, asked: options.Options) -> int:
    """Verify finished runs of the folder's plan; return the exit status."""
    if plan_path(folders.results).exists():
        plan = options.as_in(usable_plan(folders.results), asked)
    device = choose_device(asked.device)
    if not any(records.find(folders.record(run)) for run in plan.runs):
        raise UsageError(f"--verify: no run of the plan is finished in {folders.results}")
    data.load(plan.recipe.dataset, folders.data)
    return verify.verify(plan, folders, device, asked.threads, asked.workers, asked.verify)


def prepare_folders(folders: Folders, plan: Plan) -> None:
    """Make the folders, clear away what killed writers left long ago, and keep the plan."""
    for folder in (folders.checkpoints, folders.results, folders.results / "runs"):
        folder.mkdir(parents=True, exist_ok=True)
        clear_leftovers(folder)
    for name in ("status", "runs.parts", "runs.images", "runs.images.parts", "plan.parts"):
        clear_leftovers(folders.results / name)
    ask(folders.results, fix_seeds(plan, folders))


def join_earlier_plan(plan: Plan, folders: Folders) -> Plan:
    """Return the plan, with that of earlier commands where recipe and test agree."""
    try:
        return plan.joined(usable_plan(folders.results))
    except FileNotFoundError:
        return plan


def usable_plan(results: Path) -> Plan:
    """Return the plan of a results folder.

    Raises:
        FileNotFoundError: if it has none.
        Damaged: if it cannot be read, or asks for what is not known here.
    """
    plan = load_plan(results)
    check_families(plan)
    unknown = sorted({run.architecture for run in plan.runs} - ARCHITECTURES.keys())
    if unknown and plan.kind is Run:
        raise Damaged(
            f"{plan_path(results)}: asks for architectures that are not known here: "
            f"{', '.join(map(ascii, unknown))}"
        )
    return plan


def run_all(
    todo: list[Run],
    plan: Plan,
    folders: Folders,
    device: torch.device,
    workers: int,
    threads: int,
    tables: "Tables",
    track: Callable[[Run, str, dict], None] | None = None,
    price: Callable[[Run, Sweep], float] = first_cost,
    later: float = 0.0,
) -> dict[Run, str]:
    """Do the runs side by side; return those that failed and why.

    Raises:
        KeyboardInterrupt: on Ctrl-C, SIGTERM or SIGUSR2, when all is saved and no worker left.
    """
    if not todo:
        return {}
    here, sweep = offers.provenance(device, threads), plan.staged
    do = functools.partial(
        work,
        sweep=sweep,
        folders=folders,
        device=str(device),
        provenance=here,
        regimes=plan.all_regimes,
    )
    with Progress({run: price(run, sweep) for run in todo}, later=later) as progress:

        def on_event(run: Run, kind: str, facts: dict) -> None:
            progress(run, kind, facts)
            if track is not None:
                track(run, kind, facts)
            if kind == Kind.DONE:
                tables.refresh()
            elif kind == Kind.FAILED:
                claims.fail(folders.results, run, facts["reason"])

        prepare = functools.partial(offers.prepare, threads, here["code"])
        return run_jobs(todo, do, workers, on_event, prepare)


class Tables:
    """The tables of a results folder, kept fresh while runs finish, at under 1% of the time."""

    def __init__(self, results: Path, alone: bool):
        self.results = results
        self.alone = alone  # a shard writes only its own runs' files
        self.next = 0.0
        self.again = f"python report.py --results-dir {shlex.quote(str(results))}"

    def refresh(self) -> None:
        """Rewrite the CSV and JSON tables, unless that was done a short while ago."""
        if time.monotonic() < self.next or not self.alone:
            return
        import report  # Matplotlib and SciPy: this file is every worker's too, and none needs them

        began = time.monotonic()
        try:
            report.rebuild(self.results, everything=False)
        except (OSError, ValueError) as error:  # the runs go on; `finish` says what is wrong
            print(f"tables not written: {error}", file=sys.stderr, flush=True)
        now = time.monotonic()
        self.next = now + 100 * (now - began)

    def finish(self) -> bool:
        """Write all tables, figures and pages and print the summary; tell whether it worked."""
        if not self.alone:
            print(f"\nThis shard is done. For the tables of all: {self.again}")
            return True
        import report

        try:
            print(f"\n{report.rebuild(self.results).text}")
        except (OSError, ValueError) as error:
            print(f"\ntables not written: {error}; once mended: {self.again}", file=sys.stderr)
            return False
        return True


if __name__ == "__main__":
    sys.exit(main())
