"""shared.py: whoever else adds to a record or a plan at the same time, the end is the union."""

import itertools
import json
import multiprocessing
import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config import Run
from fakes import make_plan
from store import plan_file as plans
from store import records, shared
from store.files import write_whole
from store.merge import take
from store.records import Conflict, add, load, rows, save

TEST = {"test_size": 0, "noise_seed": 0}
MANY = 1000
"""Pairs of writers that meet."""


def record(seed: int, *points: tuple[float, int], weights: str = "weights") -> records.Record:
    empty = records.new(Run("mlp", "clean", seed), weights, [0.5], {"threads": 1})
    return add(empty, TEST, [[alpha, draw, 1, 5, 10, 0.5] for alpha, draw in points])


def place(folder: Path, seed: int) -> Path:
    return folder / "runs" / f"{Run('mlp', 'clean', seed).run_id}.json"


def points(found: records.Record) -> set[tuple[float, int]]:
    return {(row[0], row[1]) for row in rows(found, TEST)}


def parts_left(folder: Path) -> list[str]:
    return [str(path) for path in folder.glob("*.parts/*")]


# ---- Every order of steps ------------------------------------------------------------------------


class Turns:
    """Lets threads go on one step at a time, in an order that is given."""

    def __init__(self, choices: list[int]):
        self.choices, self.waiting, self.lock = iter(choices), {}, threading.Condition()
        self.alive, self.go = set(), None

    def step(self) -> None:
        """Wait for this thread's turn, before whatever touches the disk."""
        me = threading.current_thread().name
        if me not in self.alive:
            return
        with self.lock:
            self.waiting[me] = True
            self.choose()
            self.lock.wait_for(lambda: self.go == me)
            self.go = None
            del self.waiting[me]

    def choose(self) -> None:
        if self.go is None and self.waiting and self.waiting.keys() == self.alive:
            names = sorted(self.alive)
            self.go = names[next(self.choices, 0) % len(names)]
            self.lock.notify_all()

    def run(self, jobs: dict) -> None:
        self.alive = {*jobs}

        def do(name: str) -> None:
            try:
                jobs[name]()
            finally:
                with self.lock:
                    self.alive.discard(name)
                    self.choose()

        threads = [threading.Thread(target=do, args=(name,), name=name) for name in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


STEPS = ("names_in", "read_regular", "write_whole", "write_new", "remove", "is_old")


def fold(view: shared.View) -> bytes:
    """The union of sets of letters."""
    found = {*(view.whole or b"").decode()}
    for part in view.parts:
        found |= {*part.data.decode()}
    union = "".join(sorted(found)).encode()
    return union if view.whole is None or union != view.whole else view.whole


@pytest.mark.parametrize("absorb", [False, True])
@settings(max_examples=150)
@given(order=st.lists(st.integers(0, 2), max_size=60), there=st.sampled_from([None, b"x"]))
def test_nothing_is_lost_whatever_the_order_of_steps(tmp_path_factory, absorb, order, there):
    folder = tmp_path_factory.mktemp("steps")
    path, parts, turns = folder / "it.json", folder / "parts", Turns(order)
    if there:
        path.write_bytes(there)

    def job(letters: str):
        def do() -> None:
            for letter in letters:
                shared.add(path, parts, "add", letter.encode(), fold, absorb)
                seen = fold(shared.look(path, parts)).decode()
                assert letter in seen, f"{letter} was added, and is not read: {seen}"

        return do

    failures = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        patch.setattr(threading, "excepthook", lambda args: failures.append(args.exc_value))
        for name in STEPS:
            true = getattr(shared, name)

            def stepped(*args, true=true, **more):
                turns.step()
                return true(*args, **more)

            patch.setattr(shared, name, stepped)
        turns.run({"0": job("ab"), "1": job("cd"), "2": job("e")})
    assert not failures
    assert path.read_bytes() == b"abcde" + (there or b"")
    assert not [*parts.glob("*")]


# ---- Processes -----------------------------------------------------------------------------------

SPAWN = multiprocessing.get_context("spawn")


def meet(count: int, do, *args) -> None:
    """Let two processes call `do(folder-like args, side, barrier)`; both must end well."""
    barrier = SPAWN.Barrier(2, timeout=60)
    both = [SPAWN.Process(target=do, args=(*args, side, barrier, count)) for side in (0, 1)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]


def save_pairs(folder: Path, side: int, barrier, count: int) -> None:
    for seed in range(count):
        mine = record(seed, (0.0, 0), (0.1 + side, 0), (0.5, side))
        barrier.wait()
        save(place(folder, seed), mine)
        assert points(load(place(folder, seed))) >= points(mine)


@pytest.mark.parametrize("count", [100, pytest.param(MANY, marks=pytest.mark.slow)])
def test_of_pairs_of_writers_no_side_is_lost(tmp_path, count):
    meet(count, save_pairs, tmp_path)
    expected = {(0.0, 0), (0.1, 0), (1.1, 0), (0.5, 0), (0.5, 1)}
    found, problems = records.load_all(tmp_path / "runs")
    assert len(found) == count and not problems
    assert sum(points(one) != expected for one in found) == 0
    whole = [records.parse(path, path.read_bytes()) for path in (tmp_path / "runs").iterdir()]
    assert sum(points(one) != expected for one in whole) == 0  # in the files themselves
    assert not parts_left(tmp_path)


def merge_beside_a_run(folder: Path, side: int, barrier, count: int) -> None:
    for seed in range(count):
        barrier.wait()
        if side:
            assert take(place(folder, seed), record(seed, (0.2, 0), (0.2, 1))) == []
        else:
            for draw in range(3):
                save(place(folder, seed), record(seed, *((0.1, n) for n in range(draw + 1))))


def test_a_merge_beside_a_run_loses_nothing(tmp_path):
    meet(60, merge_beside_a_run, tmp_path)
    expected = {(0.1, 0), (0.1, 1), (0.1, 2), (0.2, 0), (0.2, 1)}
    for seed in range(60):
        path = place(tmp_path, seed)
        assert points(records.parse(path, path.read_bytes())) == expected
    assert not parts_left(tmp_path)


def contradict(folder: Path, side: int, barrier, count: int) -> None:
    for seed in range(count):
        mine = record(seed, (0.1, side), weights=f"weights {side}")
        barrier.wait()
        try:
            save(place(folder, seed), mine)
            (folder / f"{seed} kept {side}").touch()
        except Conflict:
            pass


def test_of_two_that_contradict_each_other_one_is_the_first(tmp_path):
    meet(60, contradict, tmp_path)
    for seed in range(60):
        [kept] = tmp_path.glob(f"{seed} kept *")
        assert load(place(tmp_path, seed))["weights"] == f"weights {kept.name[-1]}"
    assert not parts_left(tmp_path)


def plan_pairs(folder: Path, side: int, barrier, count: int) -> None:
    for n in range(count):
        barrier.wait()
        plans.ask(folder / str(n), make_plan(("mlp", "cnn")[side : side + 1], seeds=(side,)))


def test_of_pairs_of_plans_none_is_lost(tmp_path):
    meet(60, plan_pairs, tmp_path)
    for n in range(60):
        asked = plans.from_data(json.loads(plans.plan_path(tmp_path / str(n)).read_bytes()))
        assert {(run.architecture, run.seed) for run in asked.runs} == {("mlp", 0), ("cnn", 1)}
        assert not parts_left(tmp_path / str(n))


def save_on_and_on(folder: Path, side: int) -> None:
    for n in itertools.count():
        save(place(folder, 0), record(0, (0.1, n), *[(side + 1.0, n)]))
        with open(folder / f"said {side}", "a") as file:
            file.write(f"{n}\n")


def test_what_a_killed_writer_has_said_to_be_saved_is_there(tmp_path):
    instants = random.Random(0)
    for _ in range(4):
        both = [SPAWN.Process(target=save_on_and_on, args=(tmp_path, side)) for side in (0, 1)]
        for process in both:
            process.start()
        for side in (0, 1):
            while both[side].is_alive() and not (tmp_path / f"said {side}").exists():
                time.sleep(0.01)
        time.sleep(instants.uniform(0.05, 0.3))
        for process in both:
            os.kill(process.pid, signal.SIGKILL)
            process.join()
        found = points(load(place(tmp_path, 0)))
        for side in (0, 1):
            said = {int(line) for line in (tmp_path / f"said {side}").read_text().split()}
            assert {(side + 1.0, n) for n in said} <= found
            (tmp_path / f"said {side}").unlink()
    # what was cut short goes into the file with the next writer, and a day later is taken away
    save(place(tmp_path, 0), record(0, (9.0, 0)))
    path = place(tmp_path, 0)
    assert points(records.parse(path, path.read_bytes())) == points(load(path)) >= found
    assert len(parts_left(tmp_path)) <= 2 * (2 * 4 + 1)
    for part in (tmp_path / "runs.parts").iterdir():
        os.utime(part, (0, 0))
    save(place(tmp_path, 0), record(0, (9.0, 1)))
    assert not [name for name in parts_left(tmp_path) if name.endswith(".json")]
    assert points(records.parse(path, path.read_bytes())) >= found


# ---- What a killed writer leaves -----------------------------------------------------------------


def leave_part(path: Path, one: records.Record, kind: str = "add") -> None:
    folder = records.parts_folder(path.parent)
    shared.announce(path, folder, kind, records.dumps(one).encode())


def test_readers_see_what_is_not_yet_in_the_file(tmp_path):
    path = place(tmp_path, 0)
    leave_part(path, record(0, (0.1, 0)))
    assert load(path) == record(0, (0.1, 0))
    save(path, record(0, (0.2, 0)))
    leave_part(path, record(0, (0.3, 0)))
    assert points(load(path)) == {(0.1, 0), (0.2, 0), (0.3, 0)}
    (found,), problems = records.load_all(path.parent)
    assert found == load(path) and not problems


def test_a_reader_loses_nothing_that_goes_into_the_file_while_it_reads(tmp_path, monkeypatch):
    path = place(tmp_path, 0)
    save(path, record(0, (0.1, 0)))
    leave_part(path, record(0, (0.2, 0)))
    folder, true = records.parts_folder(path.parent), shared.names_in

    def then_it_is_in_the_file(listed: Path) -> list[str]:
        found = true(listed)
        write_whole(path, records.dumps(record(0, (0.1, 0), (0.2, 0))).encode())
        shared.remove(folder, found)
        return found

    monkeypatch.setattr(shared, "names_in", then_it_is_in_the_file)
    assert points(load(path)) == {(0.1, 0), (0.2, 0)}


@pytest.mark.parametrize("gone", range(1, 5))
@pytest.mark.parametrize("before", range(4))
def test_a_forgotten_run_that_was_asked_for_again_stays(tmp_path, monkeypatch, before, gone):
    """While somebody reads its parts, which have ended, another takes them away, in order."""
    path, folder = plans.plan_path(tmp_path), plans.parts_folder(tmp_path)
    plans.save_plan(tmp_path, make_plan(("mlp",), seeds=(0, 1, 7)))
    for kind, seeds in (("forget", (7,)), ("ask", (0,)), ("ask", (0, 1, 7)), ("ask", (1,))):
        body = {"plan": plans.as_data(make_plan(("mlp",), seeds=seeds)), "named": ()}
        shared.leave(path, folder, kind, json.dumps(body).encode())
    parts = [name for name in shared.of_file(path, folder) if name.endswith(".json")]
    true, count = shared.read_regular, itertools.count()

    def read(file: Path) -> bytes:
        if file.parent == folder and next(count) == before:
            shared.remove(folder, parts[:gone])
        return true(file)

    monkeypatch.setattr(shared, "read_regular", read)
    assert {run.seed for run in plans.load_plan(tmp_path).runs} == {0, 1, 7}


def test_two_that_replace_a_record_of_other_weights_at_once_lose_nothing(tmp_path, monkeypatch):
    path = place(tmp_path, 0)
    save(path, record(0, (0.1, 0), weights="old"))
    true = records.set_aside

    def first_the_other(file: Path, why: str) -> Path:
        monkeypatch.setattr(records, "set_aside", true)
        records.put(path, record(0, (0.1, 0), (0.2, 0), (0.3, 0)))
        return true(file, why)

    monkeypatch.setattr(records, "set_aside", first_the_other)
    records.put(path, record(0, (0.1, 0), (0.4, 0)))
    assert points(load(path)) == {(0.1, 0), (0.2, 0), (0.3, 0), (0.4, 0)}


def test_parts_that_are_cut_short_or_of_other_weights_add_nothing(tmp_path):
    path = place(tmp_path, 0)
    save(path, record(0, (0.1, 0)))
    before = path.read_bytes()
    leave_part(path, record(0, (0.2, 0), weights="others"))
    folder = records.parts_folder(path.parent)
    shared.announce(path, folder, "add", records.dumps(record(0, (0.3, 0))).encode()[:-30])
    shared.announce(path, folder, "add", records.dumps(record(1, (0.3, 0))).encode())
    shared.announce(path, folder, "add", b"")
    os.mkfifo(folder / f"{path.stem}.000009-0123456789ab.add.json")
    (folder / f"{path.stem}.000008-0123456789ab.add.json").mkdir()
    assert load(path) == record(0, (0.1, 0))
    save(path, record(0, (0.1, 0)))
    assert path.read_bytes() == before


def test_a_writer_that_slept_for_hours_looks_anew(tmp_path, monkeypatch):
    path, hours = place(tmp_path, 0), iter([0, 9999, 9999])
    monkeypatch.setattr(shared.time, "time", lambda: next(hours, 9999))
    looks, true = [], shared.look
    monkeypatch.setattr(shared, "look", lambda *args: (looks.append(1), true(*args))[1])
    save(path, record(0, (0.1, 0)))
    assert len(looks) == 4  # before, in vain, to write, and whether it is written


def test_another_name_in_the_folder_of_parts_is_nobodys(tmp_path):
    path = place(tmp_path, 0)
    folder = records.parts_folder(path.parent)
    for name in ("notes.txt", f"{path.stem}.json", "a.b.json", f"{path.stem}.x.add.json"):
        write_whole(folder / name, b"{}")
    save(path, record(0, (0.1, 0)))
    assert load(path) == record(0, (0.1, 0))
