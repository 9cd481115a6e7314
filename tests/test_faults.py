"""Whatever happens to an experiment, starting it again ends with what an undisturbed one gives.

Real processes, real signals, real damage. The reference is an experiment started as a user does;
most of the others are forks (see `launch`), so the comparison also covers those.
"""

import itertools
import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
import torch

import launch
from analysis.needs import is_complete
from damage import flip, rewrite
from launch import STEPS, outcome, start
from runner import claims
from store import checkpoints, records
from store.plan_file import load_plan

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc"),
    pytest.mark.usefixtures("mnist"),
]

RUNS, EPOCHS = 2, 3
WHOLE = "mlp-clean-seed0-??????????"
FILES = ["plan.json", "status/*.json", "*.resume.pt", f"{WHOLE}.pt", "runs/*.json"]
FILES += ["summary.csv", "sweep.csv", "results.json", "robustness.png", "report.html"]
"""Every kind of file that an experiment writes, in the order in which it does."""


@pytest.fixture(autouse=True)
def nothing_left():
    yield
    launch.kill_all()


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory, mnist) -> tuple[Path, float, float]:
    """The folder of an experiment that ran undisturbed, started as a user does; the seconds until
    its plan was printed, and until its end."""
    home = tmp_path_factory.mktemp("finished") / "home"
    began = time.monotonic()
    it = start(home, real=True)
    it.until("runs to do")
    early = time.monotonic() - began
    assert it.end() == 0
    return home, early, time.monotonic() - began


@pytest.fixture(scope="session")
def finished(undisturbed) -> Path:
    """A folder in which an experiment ran undisturbed, started as a user does."""
    return undisturbed[0]


@pytest.fixture(scope="session")
def reference(finished) -> dict:
    """What every experiment must end with."""
    found = outcome(finished)
    assert len(found) == 2 * RUNS + 2
    return found


@pytest.fixture
def home(tmp_path) -> Path:
    """A folder for an experiment."""
    return tmp_path / "home"


def finish(home: Path, *words: str, **options) -> str:
    """Start an experiment and let it end well; return what it printed."""
    options.setdefault("before", launch.no_figures)
    it = start(home, *words, **options)
    assert it.end() == 0, it.text
    return it.text


def fail(home: Path, *words: str, before=launch.no_figures, **options) -> str:
    """Start an experiment in which runs fail, which it says at the end; return what it printed."""
    it = start(home, *words, before=before, **options)
    return failed(it)


def failed(it: launch.Started) -> str:
    """Wait for the end of an experiment in which runs fail; return what it printed."""
    assert it.end() == 1, it.text
    assert "runs failed:\n  mlp-" in it.text
    assert "Nothing finished is lost. To go on: python run_experiments.py mlp --seeds" in it.text
    return it.text


def mended(home: Path, reference: dict) -> str:
    """Start it again: it ends as an undisturbed one."""
    text = finish(home)
    assert outcome(home) == reference
    return text


def check_what_is_there(home: Path) -> None:
    """Check that every file is whole, and none was taken for damaged."""
    found = outcome(home)  # loads every checkpoint and record
    assert not [name for name in found if "corrupt" in name]
    for name in ("summary.csv", "sweep.csv", "results.json", "report.html", "report.md"):
        path = home / "results" / name
        assert not path.exists() or path.read_bytes().endswith(b"\n"), name


def stage(home: Path) -> str:
    """Return what an experiment was doing when it was killed, by what it has left."""
    if len([*(home / "ckpt").glob("mlp-*-seed0-??????????.pt")]) < RUNS:
        return "training"
    plan = load_plan(home / "results")
    found = [records.load(path) for path in (home / "results" / "runs").glob("*.json")]
    complete = [record for record in found if is_complete(record, plan.sweep)]
    return "reporting" if len(complete) == RUNS else "sweeping"


# ---- Killed --------------------------------------------------------------------------------------


def random_kills(seed: int, seconds: float, earlier: bool = False):
    """Yield random instants, until `seconds`, and whom to kill then, without end; `earlier` where
    most of the time goes by in reporting."""
    choose = random.Random(seed)
    while True:
        instant = choose.uniform(0, choose.uniform(0, seconds) if earlier else seconds)
        yield instant, choose.choice(["group", "parent", "worker"])


def kill_until_done(home: Path, kills, *words: str, **options) -> Counter:
    """Kill an experiment, start it again, and so on until it is done; count kills by stage."""
    stages = Counter()
    for instant, whom in kills:
        it = start(home, *words, **options)
        time.sleep(instant)
        it.kill("group" if whom == "worker" and not it.workers else whom)
        if it.end() == 0:
            break
        check_what_is_there(home)
        stages[stage(home)] += 1
    return stages


SLOWLY = partial(launch.slowly, 0.02)
"""As long in training and sweeping as in reporting."""
SLOWLY_WITHOUT_FIGURES = partial(launch.together, launch.no_figures, SLOWLY)


@pytest.mark.slow
def test_three_kills_leave_no_trace(home, reference):
    stages = kill_until_done(home, itertools.islice(random_kills(0, 1.5), 3), before=SLOWLY)
    mended(home, reference)
    assert stages.total() == 3


KILLS = 30
"""At random instants. It was run with 100, too: raise it where how something is saved changes."""
PRECISE = ["--antithetic", "--precision", "0.02", "--max-draws", "12"]


@pytest.mark.slow
@pytest.mark.parametrize(("words", "number"), [([], KILLS), (PRECISE, KILLS // 3)])
def test_kills_at_any_instant_leave_no_trace(words, number, tmp_path, capsys):
    began = time.monotonic()
    finish(tmp_path / "whole", *words, before=SLOWLY)
    seconds, expected = time.monotonic() - began, outcome(tmp_path / "whole")
    stages = Counter()
    for n in itertools.count():
        home = tmp_path / str(n)
        kills = random_kills(n, seconds, earlier=True)
        stages += kill_until_done(home, kills, *words, before=SLOWLY)
        assert outcome(home) == expected
        shutil.rmtree(home)
        # few kills may all miss the shortest stage
        if stages.total() >= (number if len(stages) == 3 else 3 * number):
            break
    with capsys.disabled():
        print(f"\n{stages.total()} kills, {n + 1} experiments of {seconds:.0f} s: {dict(stages)}")
    assert set(stages) == {"training", "sweeping", "reporting"}


@pytest.mark.slow
def test_kills_of_an_experiment_as_a_user_starts_it(home, undisturbed, reference):
    _, _, seconds = undisturbed
    for n in itertools.count():
        stages = kill_until_done(home, random_kills(n, seconds), real=True)
        assert outcome(home) == reference
        if stages.total() >= 3:
            break
        shutil.rmtree(home)


@pytest.mark.parametrize(
    "moment", [pytest.param(m, marks=pytest.mark.slow) for m in ("half", "before")] + ["after"]
)
def test_kills_within_the_writing_of_each_kind_of_file(moment, home, reference):
    for pattern in FILES:
        it = start(home, before=partial(launch.die_writing, pattern, moment))
        assert it.end() == -signal.SIGKILL, f"{pattern} is not written:\n{it.text}"
        check_what_is_there(home)
    assert "another process" not in mended(home, reference)
    # The other worker may have been in the middle of a file of its own: that one is left, too.
    leftovers = [path.with_name(path.name[1:-17]) for path in home.rglob(".*.tmp")]
    for pattern in FILES if moment != "after" else ():
        assert any(path.match(pattern) for path in leftovers), pattern


# ---- Told to stop --------------------------------------------------------------------------------

SIGNALS = [(signal.SIGTERM, False), (signal.SIGTERM, True), (signal.SIGINT, True)]
SIGNALS += [(signal.SIGHUP, False), (signal.SIGHUP, True)]
SIGNALS += [(signal.SIGUSR2, False), (signal.SIGUSR2, True)]


def interrupted(home: Path, number: int, everybody: bool, *more) -> launch.Started:
    """Signal an experiment in the third step of its second epoch; return it when it has ended."""
    in_epoch_2 = partial(launch.signal_in_step, STEPS + 3, number, everybody)
    mishaps = partial(launch.together, launch.no_figures, in_epoch_2, *more)
    it = start(home, "--regimes", "clean", before=mishaps)
    it.end()
    [resume] = (home / "ckpt").glob("*.pt")
    content = checkpoints.load(resume)
    assert resume.name.endswith(".resume.pt")
    assert (content["epoch"], content["training"]["step"]) == (1, 3)
    assert "epoch 2/3" not in it.text
    return it


@pytest.mark.parametrize(("number", "everybody"), SIGNALS)
def test_a_signal_saves_the_middle_of_an_epoch(number, everybody, home, reference):
    it = interrupted(home, number, everybody)
    assert it.status == 130
    last = it.text.splitlines()[-1]
    assert last.startswith("Interrupted; what was done is saved. To go on: python run_experi")
    assert "going on after epoch 1, step 3 of the next" in mended(home, reference)


@pytest.mark.parametrize("queue", ["takes it", "refuses", "is not there"])
def test_a_slurm_job_that_runs_out_of_time_is_queued_again(queue, home, tmp_path, reference):
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.parent.mkdir()
    if queue != "is not there":
        status = 0 if queue == "takes it" else 1
        scontrol.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\nexit {status}\n')
        scontrol.chmod(0o755)
        it = interrupted(home, signal.SIGUSR2, True, partial(launch.in_slurm, scontrol))
        assert (tmp_path / "asked").read_text() == "requeue 123\n"
    else:
        it = interrupted(home, signal.SIGUSR2, False, partial(launch.in_slurm, scontrol))
    assert it.status == (0 if queue == "takes it" else 130)
    assert ("To go on: python run_experiments.py" in it.text) == (queue != "takes it")
    mended(home, reference)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_to_all_processes_at_any_instant(number, home, undisturbed, reference):
    """Also while the workers start, twice, and as a user starts it."""
    _, early, seconds = undisturbed
    later = itertools.islice(random_kills(number, seconds - early), 3)
    for n, wait in enumerate([0.0, *(instant for instant, _ in later)]):
        it = start(home, real=True)
        it.until("Plan:")
        time.sleep(wait)
        for _ in range(1 + n % 2):
            it.kill("group", number)
        assert it.end() in (0, 130), it.text
    mended(home, reference)


@pytest.mark.slow
def test_a_worker_that_is_told_to_stop_alone_gives_its_run_to_another(home, reference):
    it = start(home, before=SLOWLY_WITHOUT_FIGURES)
    it.until("epoch 1/3")
    it.kill("worker", signal.SIGTERM)
    assert it.end() == 0, it.text
    assert outcome(home) == reference


# ---- Damaged and foreign files -------------------------------------------------------------------


def half_trained(home: Path) -> None:
    """Leave the state after the first epoch of a run."""
    dying = partial(launch.die_writing, "*.resume.pt", "after")
    it = start(home, "--regimes", "clean", before=dying)
    assert it.end() == -signal.SIGKILL


def file_of(home: Path, kind: str, finished: Path) -> Path:
    """Put what is finished, or half-trained, into a folder; return one of its files.

    What would make reading that file needless is not there.
    """
    if kind == "resume":
        half_trained(home)
        [path] = (home / "ckpt").glob("*.resume.pt")
        return path
    shutil.copytree(finished, home)
    [record] = (home / "results" / "runs").glob("mlp-clean-*.json")
    if kind == "record":
        return record
    record.unlink()
    [path] = (home / "ckpt").glob("mlp-clean-*.pt")
    return path


KINDS = ["final", "resume", "record"]
DAMAGES = {
    "truncated": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "a bit flipped": lambda data: flip(data, 4 * len(data) + 1),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_set_aside_and_its_run_redone(kind, damage, home, finished, reference):
    path = file_of(home, kind, finished)
    data = DAMAGES[damage](path.read_bytes())
    rewrite(path, data)
    text = finish(home)
    aside = path.with_name(f"{path.name}.corrupt")
    assert f"{path}: " in text and f"set aside as {aside.name}" in text
    assert aside.read_bytes() == data
    aside.unlink()
    assert outcome(home) == reference


@pytest.mark.parametrize("left", ["nothing", "a damaged file"])
def test_a_record_without_its_weights_stops_before_any_training(left, home, finished):
    shutil.copytree(finished, home)
    [weights] = (home / "ckpt").glob("mlp-clean-*.pt")
    if left == "nothing":
        weights.unlink()
    else:
        weights.write_bytes(weights.read_bytes()[:-9])
    text = fail(home, "--draws", "5")
    assert "1 of " in text and f"bring {weights}, or move the record away" in text
    assert ": epoch " not in text
    assert text.count("cannot go on: ") == (left == "nothing")  # said with the plan


def stopped_before_its_final(folder: Path) -> None:
    """Let another process finish the run just before this one writes its final checkpoint."""
    true = checkpoints.create

    def create(path, run, content):
        shutil.copy(folder / path.name, path)
        return true(path, run, content)

    checkpoints.create = create


def test_who_finishes_a_run_second_takes_the_weights_of_the_first(home, finished, reference):
    others = home.with_name("others")
    finish(others)
    first = partial(stopped_before_its_final, others / "ckpt")
    before = partial(launch.together, launch.no_figures, first)
    finish(home, before=before)
    for path in (others / "ckpt").glob("*.pt"):
        assert (home / "ckpt" / path.name).read_bytes() == path.read_bytes()
    assert outcome(home) == reference


def foreign_files(tmp_path: Path) -> dict[str, bytes]:
    """Return whole files that are not this program's, or of another version of it, by kind."""
    path = tmp_path / "other.pt"
    torch.save({"weights": torch.ones(3)}, path)
    weights = path.read_bytes()
    path.unlink()
    body = {key: None for key in records.KEYS} | {"format": 0}
    old = records.dumps(body).encode()
    return {"final": weights, "resume": weights, "record": b'{"mine": 1}\n', "old record": old}


@pytest.mark.parametrize("kind", [*KINDS, "old record"])
def test_a_foreign_file_of_that_very_name_stops_only_its_run(
    kind, home, finished, tmp_path, reference
):
    path = file_of(home, kind.removeprefix("old "), finished)
    data, ours = foreign_files(tmp_path)[kind], path.read_bytes()
    rewrite(path, data)
    text = fail(home)
    assert "1 of " in text and f"{path}: " in text and "; move it away to go on" in text
    assert path.read_bytes() == data
    rewrite(path, ours)
    mended(home, reference)


def test_other_files_are_named_and_left_alone(home, finished, tmp_path, reference):
    shutil.copytree(finished, home)
    others = foreign_files(tmp_path)
    there = {
        home / "ckpt" / "mlp_clean_seed0.pt": others["final"],
        home / "ckpt" / "mlp-clean-seed0-0123456789.pt": others["final"],
        home / "results" / "runs" / "mlp-clean-seed0-0123456789.json": others["old record"],
        home / "results" / "runs" / "notes.json": others["record"],
        home / "results" / "runs" / "broken.json": b"{",
    }
    for path, data in there.items():
        path.write_bytes(data)
    text = finish(home)
    for path, data in there.items():
        assert f"ignored: {path}: " in text
        assert path.read_bytes() == data
        path.unlink()
    assert outcome(home) == reference


# ---- Several at once -----------------------------------------------------------------------------


def at_once(home: Path, count: int, *words: str, **options) -> list[str]:
    """Start several experiments on the same folders; return what they printed."""
    them = [start(home, "--workers", "1", *words, **options) for _ in range(count)]
    assert [it.end() for it in them] == [0] * count
    return [it.text for it in them]


def test_two_at_once_share_the_work(home, reference):
    texts = at_once(home, 2, before=launch.no_figures)
    assert outcome(home) == reference
    assert sum(text.count(": epoch ") for text in texts) == RUNS * EPOCHS


@pytest.mark.slow
def test_two_at_once_that_know_nothing_of_each_other_end_the_same(home, reference):
    slowly = partial(launch.slowly, 0.05)  # so that they meet, however late the second starts
    blind = partial(launch.together, launch.without_claims, launch.no_figures, slowly)
    texts = at_once(home, 2, before=blind)
    assert outcome(home) == reference
    assert sum(text.count(": epoch ") for text in texts) > RUNS * EPOCHS  # they did meet


@pytest.mark.slow
def test_eight_at_once_share_the_work(home, tmp_path):
    seeds = ("--seeds", "0", "1", "2", "3")
    texts = at_once(home, 8, *seeds)
    assert sum(text.count(": epoch ") for text in texts) == 4 * RUNS * EPOCHS
    alone = tmp_path / "alone"
    finish(alone, *seeds)
    assert outcome(home) == outcome(alone)


def test_a_status_that_a_dead_process_left_delays_nobody(home, reference):
    half_trained(home)
    [left] = (home / "results" / "status").glob("*.json")
    assert not claims.read(left)["alive"]
    assert "another process" not in mended(home, reference)


@pytest.mark.slow
def test_work_on_another_machine_is_awaited_as_long_as_it_shows_signs_of_life(home, reference):
    half_trained(home)
    [left] = (home / "results" / "status").glob("*.json")
    left.write_text('{"state": "training", "pid": 1, "machine": "elsewhere"}')
    it = start(home, before=launch.no_figures)
    it.until("another process is at work on mlp-clean")
    os.utime(left, (0, 0))
    assert it.end() == 0, it.text
    assert outcome(home) == reference


# ---- Bad luck after the start --------------------------------------------------------------------


@pytest.fixture
def disk(home):
    """A disk of 1 MB at `home`; returns a function that mounts it with other options."""

    def mount(options: str) -> bool:
        line = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(home)]
        return subprocess.run(line, capture_output=True).returncode == 0

    home.mkdir()
    if not mount("size=1m"):
        pytest.skip("a disk of its own needs root, and a system that lets it mount one")
    yield lambda options: mount(f"remount,{options}")
    subprocess.run(["umount", "--lazy", str(home)], check=True)


def test_a_full_disk(disk, home, reference):
    text = fail(home)
    assert f"{RUNS} of {RUNS} runs failed" in text and "No space left on device" in text
    assert disk("size=100m")
    mended(home, reference)


def test_a_folder_that_turns_read_only(disk, home, reference):
    assert disk("size=100m")
    it = start(home, before=SLOWLY_WITHOUT_FIGURES)
    it.until("epoch 1/3")
    while not disk("ro"):  # it is busy while a file is being written
        time.sleep(0.01)
    text = failed(it)
    assert f"{RUNS} of {RUNS} runs failed" in text and "Read-only file system" in text
    assert "tables not written: " in text
    assert disk("rw")
    mended(home, reference)


def test_a_results_folder_that_is_replaced_by_a_file(home, reference):
    results, away = home / "results", home / "away"
    it = start(home, before=SLOWLY_WITHOUT_FIGURES)
    it.until("epoch 1/3")
    results.rename(away)
    results.write_text("not a folder")
    text = failed(it)
    assert f"{RUNS} of {RUNS} runs failed" in text and "tables not written: " in text
    assert results.read_text() == "not a folder"
    results.unlink()
    away.rename(results)
    mended(home, reference)


def test_a_log_on_a_full_disk_stops_no_run(disk, home, tmp_path, reference):
    with open(home / "filler", "wb", buffering=0) as filler, pytest.raises(OSError):
        while True:
            filler.write(bytes(4096))
    other = tmp_path / "other"
    it = start(other, before=launch.no_figures, log=home / "log")
    assert (it.end(), it.text) == (0, "")
    assert outcome(other) == reference


def test_a_worker_that_is_killed(home, reference):
    it = start(home, before=SLOWLY_WITHOUT_FIGURES)
    it.until("epoch 1/3")
    it.kill("worker")
    text = failed(it)
    assert "1 of 2 runs failed" in text and "its worker was killed by SIGKILL (out of mem" in text
    assert "going on after epoch" in mended(home, reference)


def test_one_run_that_finds_no_memory(home, reference):
    starved = partial(launch.no_memory, "noisy")
    text = fail(home, before=partial(launch.together, launch.no_figures, starved))
    assert "1 of 2 runs failed:\n  mlp-noisy-seed0-" in text
    mended(home, reference)


def test_a_run_whose_loss_is_not_finite(home, reference):
    text = fail(home, "--alpha-train", "1e30")
    assert "1 of 2 runs failed:\n  mlp-noisy-seed0-" in text
    assert "Diverged: the training loss is nan in epoch 1" in text
    [left] = (home / "results" / "status").glob("*.json")
    left.unlink()  # it tells of that recipe
    assert "reused: mlp clean (0)" in mended(home, reference)
