"""store/images.py: bits that are the record's rows', or count as absent; as a run keeps them."""

import multiprocessing
import os
import signal

import numpy as np
import pytest
import torch

import config
from config import Run, Sweep
from fakes import make_results
from runner import execute
from store import images, records
from store.files import Damaged, Foreign
from store.folders import Folders
from store.images import Answers
from store.merge import merge_results
from store.plan import Plan
from train import initial_model

TEST = {"test_size": 0, "noise_seed": 0}
RUN_ID = Run("mlp", "clean", 0).run_id
TOTAL = 13  # not a multiple of 8


def bits_of(draw: int) -> np.ndarray:
    return np.random.default_rng(draw).random(TOTAL) < 0.6


def row(draw: int, loss=1.5) -> list:
    return [0.1, draw, 1, int(bits_of(draw).sum()), TOTAL, loss]


def answers(*draws: int, settings=TEST) -> Answers:
    found = Answers(RUN_ID, "weights")
    for draw in draws:
        found.add(settings, row(draw), bits_of(draw))
    return found


def record(*draws: int, **changes) -> records.Record:
    empty = records.new(Run("mlp", "clean", 0), "weights", [0.5], {})
    return records.add(empty, TEST, [[*row(d)[:5], changes.get("loss", 1.5)] for d in draws])


def test_what_is_written_is_read(tmp_path):
    runs = tmp_path / "runs"
    images.save(runs, answers(3, 1))
    images.save(runs, answers(2))
    found = images.find(runs, RUN_ID, "weights")
    assert found == answers(1, 2, 3)
    agreed = images.agreeing(record(1, 2), TEST, found)
    assert [*agreed] == [(0.1, 1, 1), (0.1, 2, 1)]
    for (_, draw, _), bits in agreed.items():
        assert (images.unpack(bits, TOTAL) == bits_of(draw)).all()
    assert not images.parts_folder(runs).exists()
    data = images.path_of(runs, RUN_ID, "weights").read_bytes()
    assert images.dumps(found) == data == images.dumps(answers(3, 2, 1))


def test_what_is_left_is_read_and_goes_into_the_file(tmp_path):
    runs = tmp_path / "runs"
    for draw in (1, 2):
        left = answers(draw)
        images.leave(runs, left)
        assert not left.bits and not images.path_of(runs, RUN_ID, "weights").exists()
    assert images.find(runs, RUN_ID, "weights") == answers(1, 2)
    images.save(runs, answers(3))
    assert images.find(runs, RUN_ID, "weights") == answers(1, 2, 3)
    assert not images.parts_folder(runs).exists()


def test_bits_that_are_not_those_of_the_row_count_as_absent():
    found = answers(1, 2)
    assert images.agreeing(record(1, loss=1.25), TEST, found) == {}  # another measurement
    key = images.compact(TEST), images.compact(row(2))
    wrong = Answers(RUN_ID, "weights", {key: np.packbits(~bits_of(2)).tobytes()})
    assert images.agreeing(record(1, 2), TEST, wrong) == {}
    assert images.agreeing(record(1), {**TEST, "noise": "pcm"}, found) == {}


def test_bits_of_other_weights_stand_apart(tmp_path):
    runs = tmp_path / "runs"
    other = Answers(RUN_ID, "others", answers(5).bits)
    images.save(runs, answers(1))
    images.save(runs, other)
    assert images.find(runs, RUN_ID, "weights") == answers(1)
    assert images.find(runs, RUN_ID, "others") == other
    assert images.find(runs, RUN_ID, "none") is None
    assert images.find(runs, "mlp-x", "weights") is None


@pytest.mark.parametrize("place", [0, 5, 60, -2, -1])
def test_a_changed_byte_makes_it_absent_and_the_next_save_replaces_it(tmp_path, place):
    runs = tmp_path / "runs"
    images.save(runs, answers(1, 2))
    path = images.path_of(runs, RUN_ID, "weights")
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises((Damaged, Foreign)):
        images.parse(path, bytes(data))
    assert images.find(runs, RUN_ID, "weights") is None
    images.save(runs, answers(2))
    assert images.find(runs, RUN_ID, "weights") == answers(2)


def test_a_torn_or_odd_file_is_refused(tmp_path):
    data = images.dumps(answers(1, 2))
    for end in range(len(data)):
        with pytest.raises((Damaged, Foreign)):
            images.parse(tmp_path, data[:end])
    head = {"format": 1, "run_id": "a", "weights": "b"}
    for blocks in ([{}], [{"settings": {}, "rows": [[0, 0, 1, 1, -8, 0]]}], 3, [[0]], "no"):
        body = {**head, "blocks": blocks}
        text = images.compact({**body, "digest": images.seal(body, b"")})
        with pytest.raises(Damaged):
            images.parse(tmp_path, text.encode() + b"\n")
    text = images.compact({**head, "blocks": [], "format": 2, "digest": ""})
    with pytest.raises(Foreign):
        images.parse(tmp_path, text.encode() + b"\n")


def write_many(runs, start) -> None:
    for draw in range(start, 40, 4):
        (images.leave if draw % 3 else images.save)(runs, answers(draw))
    images.save(runs, answers(start))


def test_concurrent_writers_lose_nothing(tmp_path):
    runs, context = tmp_path / "runs", multiprocessing.get_context("fork")
    writers = [context.Process(target=write_many, args=(runs, n)) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert images.find(runs, RUN_ID, "weights") == answers(*range(40))


def test_a_writer_that_was_killed_leaves_whole_bits(tmp_path):
    runs, context = tmp_path / "runs", multiprocessing.get_context("fork")
    for pause in (0.0, 0.002, 0.005, 0.01, 0.02):
        writer = context.Process(target=write_many, args=(runs, 0))
        writer.start()
        writer.join(pause)
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        found = images.find(runs, RUN_ID, "weights")
        assert found is None or found.bits.items() <= answers(*range(40)).bits.items()
    write_many(runs, 0)
    assert images.find(runs, RUN_ID, "weights") == answers(*range(0, 40, 4))


@pytest.fixture(scope="module")
def swept(mnist, data_dir):
    """A model, untrained, and what a sweep on it gives, with the bits."""

    run = Run("mlp", "clean", 0, config.Recipe(train_size=64))
    dataset = execute.load_dataset(run, Sweep(alphas=(0, 0.5), test_size=1001), data_dir)
    model = initial_model(run).eval()
    record = records.new(run, "weights", [0.5], {})
    found = Answers(run.run_id, "weights")
    sweep = Sweep(alphas=(0, 0.5), draws=2, test_size=1001, noise=("pcm:60",), antithetic=True)
    for grown, _ in execute.extend(record, model, dataset, sweep, run, keep=found.add):
        record = grown
    return model, dataset, sweep, record, found


def test_a_sweep_gives_the_bits_of_every_measurement_on_test_images(swept):
    model, dataset, sweep, record, found = swept
    blocks = [b for b in record["measurements"] if "test_size" in b["settings"]]
    assert len(blocks) == 2 and len(record["measurements"]) == 3
    assert len(found.bits) == sum(len(b["rows"]) for b in blocks)
    for block in blocks:
        assert len(images.agreeing(record, block["settings"], found)) == len(block["rows"])
    bits = images.agreeing(record, sweep.settings, found)[0.0, 0, 1]
    x = dataset.test_images[:, None].expand(-1, 3, -1, -1).float() / 255
    right = (model(x).argmax(1) == dataset.test_labels).numpy()
    assert (images.unpack(bits, 1001) == right).mean() > 0.99  # ties at other rounding


def test_bits_are_merged_where_they_are(tmp_path):
    plan = Plan(("mlp",), ("clean",), (0, 1), config.Recipe(), Sweep(alphas=(0, 0.1), draws=1))
    theirs, mine = (make_results(tmp_path / n, plan) for n in ("theirs", "mine"))
    with_bits = plan.runs[0]
    weights = f"weights of {with_bits.run_id}"
    found = Answers(with_bits.run_id, weights, answers(1).bits)
    images.save(theirs / "runs", found)
    for _ in range(2):
        assert not merge_results(mine, [theirs]).conflicts
        assert images.find(mine / "runs", with_bits.run_id, weights) == found
        assert len([*images.images_folder(mine / "runs").iterdir()]) == 1
    images.path_of(theirs / "runs", with_bits.run_id, weights).write_bytes(b"{}\n")
    assert not merge_results(mine, [theirs]).conflicts
    assert images.find(mine / "runs", with_bits.run_id, weights) == found


class Killed(BaseException):
    """As if the process ended here."""


@pytest.mark.parametrize("instant", [1, 2, 4])
def test_a_sweep_that_dies_between_bits_and_record_ends_with_all_bits(
    instant, mnist, data_dir, tmp_path, monkeypatch
):
    run = Run("mlp", "clean", 0, config.Recipe(epochs=1, train_size=64))
    sweep, folders = (
        Sweep(alphas=(0, 0.5), draws=3, test_size=101),
        Folders(data_dir, tmp_path, tmp_path),
    )
    monkeypatch.setattr(execute, "SAVE_EVERY", 0.0)
    true, calls = records.save, []

    def save(path, record):
        calls.append(path)
        if len(calls) == instant:
            raise Killed
        return true(path, record)

    device = torch.device("cpu")
    monkeypatch.setattr(records, "save", save)
    with pytest.raises(Killed):
        execute.execute(run, sweep, folders, device, {})
    execute.execute(run, sweep, folders, device, {})
    record = records.load(folders.record(run))
    found = images.find(tmp_path / "runs", run.run_id, record["weights"])
    assert len(images.agreeing(record, sweep.settings, found)) == len(found.bits) == 4
    assert not images.parts_folder(tmp_path / "runs").exists()
