"""checkpoints.py: what is loaded is what was saved, or nothing is; and no file runs code."""

import errno
import io
import os
import pickle
import random
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from config import Recipe, Run
from conftest import ROOT
from damage import flip, rewrite
from store import checkpoints
from store.checkpoints import FORMAT, content_digest, final_path, resume_path
from store.files import Damaged, Foreign

RUN, OTHER = Run("mlp", "clean", 0), Run("mlp", "clean", 1)


def trained() -> dict:
    """The content of a checkpoint in training: of every kind that a run's own holds."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.LazyLinear(3))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=5)
    model(torch.rand(4, 1, 5, 5)).sum().backward()
    optimizer.step()
    schedule.step()
    training = {
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "order_stream": torch.Generator().manual_seed(1).get_state(),
    }
    return {**checkpoints.finished(model, [0.5, 0.1], {"threads": 1}), "training": training}


CONTENT = trained()


@pytest.fixture
def path(tmp_path) -> Path:
    """The file of the run's checkpoint, with one in it."""
    checkpoints.save(final_path(tmp_path, RUN), RUN, CONTENT)
    return final_path(tmp_path, RUN)


def refused(path: Path, kind: type, run: Run | None = RUN) -> str:
    """Load a file that must be refused, and is left as it was; return the message."""
    before = path.read_bytes()
    with pytest.raises(kind, match=path.name) as caught:
        checkpoints.load(path, run)
    assert path.read_bytes() == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def saved(content, **options) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


# ---- What was saved --------------------------------------------------------------------------


def test_a_checkpoint_is_read_back_as_it_was_saved(path):
    for run in (RUN, None):
        body = checkpoints.load(path, run)
        assert (body["format"], body["run_id"]) == (FORMAT, RUN.run_id)
        assert body["identity"] == RUN.identity
        assert content_digest({k: body[k] for k in CONTENT}) == content_digest(CONTENT)
    for name, value in CONTENT["model"].items():
        assert torch.equal(body["model"][name], value)
    assert (body["epoch"], body["history"]) == (2, [0.5, 0.1])


def test_every_run_has_its_own_two_files(tmp_path):
    runs = [RUN, OTHER, Run("mlp", "clean", 0, Recipe(epochs=99))]
    paths = {place(tmp_path, run) for run in runs for place in (final_path, resume_path)}
    assert len(paths) == 6
    assert final_path(tmp_path, RUN).name == f"{RUN.run_id}.pt"
    assert resume_path(tmp_path, RUN).name == f"{RUN.run_id}.resume.pt"


def test_a_full_disk_leaves_the_old_checkpoint(path, monkeypatch):
    before = path.read_bytes()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space"):
        checkpoints.save(path, RUN, {**CONTENT, "epoch": 3})
    assert [p.read_bytes() for p in path.parent.iterdir()] == [before]


def test_a_final_checkpoint_is_made_once(tmp_path):
    path = final_path(tmp_path, RUN)
    assert checkpoints.create(path, RUN, CONTENT)
    before = path.read_bytes()
    assert not checkpoints.create(path, RUN, {**CONTENT, "epoch": 3})
    assert path.read_bytes() == before and [*tmp_path.iterdir()] == [path]


def test_a_pipe_in_the_place_of_a_checkpoint_is_not_waited_for(tmp_path):
    os.mkfifo(final_path(tmp_path, RUN))
    with pytest.raises(Foreign, match="not a regular file"):
        checkpoints.load(final_path(tmp_path, RUN), RUN)


# ---- The digest ------------------------------------------------------------------------------

IMAGES = torch.arange(24.0).reshape(1, 2, 3, 4)


@pytest.mark.parametrize(
    "same",
    [
        IMAGES.to(memory_format=torch.channels_last),
        IMAGES.flip(3).flip(3),
        IMAGES.transpose(2, 3).contiguous().transpose(2, 3),
        torch.arange(48.0).reshape(1, 2, 3, 8)[..., :4] * 0 + IMAGES,
        nn.Parameter(IMAGES),
    ],
)
def test_the_digest_counts_values_and_not_their_place_in_memory(same):
    assert content_digest({"w": same}) == content_digest({"w": IMAGES})


@pytest.mark.parametrize(
    "other",
    [
        IMAGES.double(),
        IMAGES.int(),  # the same four bytes mean something else
        IMAGES.reshape(2, 12),
        IMAGES.transpose(2, 3),
        torch.where(IMAGES == 0, -0.0, IMAGES),
        IMAGES.flip(0, 1),
    ],
)
def test_the_digest_counts_every_bit_the_type_and_the_shape(other):
    assert content_digest({"w": other}) != content_digest({"w": IMAGES})


def test_the_digest_of_plain_values_tells_them_apart():
    values = [{}, [], {"a": 1}, {"a": True}, {"a": 1.0}, {"a": "1"}, {"b": 1}, {1: 1}, {"1": 1}]
    values += [["a", "b"], ["ab"], [["a"], "b"], [["a", "b"]], [None], [0.1], [-0.0], [0.0]]
    assert len({content_digest(value) for value in values}) == len(values)
    assert content_digest({"a": 1, "b": 2}) == content_digest({"b": 2, "a": 1})


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.half, torch.uint8, torch.bool, torch.int])
@pytest.mark.parametrize("shape", [(), (0,), (3, 2)])
def test_tensors_of_every_kind_survive_the_disk(path, dtype, shape):
    value = torch.ones(shape).to(dtype)
    checkpoints.save(path, RUN, {"model": {"w": value}})
    found = checkpoints.load(path, RUN)["model"]["w"]
    assert found.dtype == dtype and torch.equal(found, value)


# ---- Damage ----------------------------------------------------------------------------------


def same_or_refused(path: Path) -> str:
    """Load a damaged file: it is refused, or holds the saved content bit for bit."""
    try:
        body = checkpoints.load(path, RUN)
    except (Damaged, Foreign) as error:
        return type(error).__name__
    assert content_digest({k: body[k] for k in CONTENT}) == content_digest(CONTENT)
    assert body["identity"] == RUN.identity
    return "same"


def test_every_truncation_is_seen(path):
    whole = path.read_bytes()
    for size in [0, 1, 2, 3, 4, 5, len(whole) - 1, *range(6, len(whole), len(whole) // 60)]:
        rewrite(path, whole[:size])
        refused(path, Damaged)


def test_flipped_bits_anywhere_are_seen_or_harmless(path):
    whole, spots = path.read_bytes(), random.Random(0)
    for _ in range(200):
        rewrite(path, flip(whole, spots.randrange(8 * len(whole))))
        same_or_refused(path)


def test_flipped_bits_in_the_content_do_not_make_it_foreign(path):
    """Whatever torch says to them: a damaged file is set aside and redone, a foreign one is not."""
    whole, spots = path.read_bytes(), random.Random(1)
    with zipfile.ZipFile(path) as archive:
        parts = [archive.read(name) for name in archive.namelist() if "/data" in name]
    for part in parts:
        start = whole.index(part)
        for _ in range(100 if len(part) > 1000 else 5):
            rewrite(path, flip(whole, 8 * start + spots.randrange(8 * len(part))))
            assert same_or_refused(path) in ("Damaged", "same")


def test_flipped_bits_in_the_directory_do_not_make_it_foreign(path):
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        start = archive.start_dir
    outcomes = Counter()
    for place in range(start, len(whole)):
        rewrite(path, flip(whole, 8 * place + place % 8))
        outcomes[same_or_refused(path)] += 1
    # Where a member lies is the one thing that readers believe: one that is sought elsewhere may
    # be found, in the middle of another, as something that makes sense.
    assert outcomes["Foreign"] <= 0.01 * outcomes.total()


@pytest.mark.parametrize("start", [0, 1, 2, 3])
def test_a_damaged_beginning_does_not_make_it_foreign(path, start):
    whole = path.read_bytes()
    rewrite(path, flip(whole, 8 * start))
    assert same_or_refused(path) in ("Damaged", "same")


@pytest.mark.parametrize("place", [final_path, resume_path])
def test_another_run_under_this_runs_name_is_damage(tmp_path, place):
    path = place(tmp_path, RUN)
    checkpoints.save(path, OTHER, CONTENT)
    assert "not the run that its name says" in refused(path, Damaged)
    assert checkpoints.load(path, OTHER)["run_id"] == OTHER.run_id


def test_another_digest_is_damage(path):
    body = torch.load(path, weights_only=True)
    for changes in ({"digest": "0" * 64}, {"digest": torch.ones(3)}, {"epoch": 3}):
        rewrite(path, saved({**body, **changes}))
        assert "does not match its digest" in refused(path, Damaged)


def test_too_little_memory_is_no_damage(path, monkeypatch):
    def out_of_memory(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr(torch, "load", out_of_memory)
    with pytest.raises(MemoryError):
        checkpoints.load(path, RUN)


SAID = [
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to ..."),
    RuntimeError("std::bad_alloc"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
]


@pytest.mark.parametrize("error", SAID, ids=str)
@pytest.mark.parametrize("place", ["torch.load", "store.checkpoints.content_digest"])
def test_too_little_memory_is_called_so_whatever_pytorch_says(path, monkeypatch, place, error):
    before = path.read_bytes()

    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(place, fail)
    with pytest.raises(MemoryError, match="too little memory to read"):
        checkpoints.load(path, RUN)
    assert path.read_bytes() == before


def test_too_little_memory_to_look_for_damage_is_no_damage(path, monkeypatch):
    path.write_bytes(path.read_bytes()[:-30])  # it is damaged indeed, but that cannot be told

    def fail(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr(zipfile, "ZipFile", fail)
    with pytest.raises(MemoryError):
        checkpoints.load(path, RUN)


# ---- Small files that ask for much ---------------------------------------------------------


class Zeros:
    """Makes 6.4 GB when it is unpickled."""

    def __reduce__(self):
        return bytearray, (6_400_000_000,)


def nested() -> list:
    parts: list = [0]
    for _ in range(40):
        parts = [parts, parts]  # of 2 ** 40 items
    return parts


def compressed(content) -> bytes:
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(saved(content))) as old,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return buffer.getvalue()


def asking() -> dict[str, bytes]:
    body = {"format": FORMAT, "digest": "", "run_id": RUN.run_id}
    fill = torch.arange(100_000)  # as a file of 541 kB
    return {
        "a tensor that repeats": saved({**body, "w": torch.ones(1).expand(1_600_000_000)}),
        "bytes": saved({**body, "w": Zeros(), "fill": fill}),
        "lists in lists": saved({**body, "w": nested()}),
        "of old": saved({**body, "w": torch.ones(3)}, _use_new_zipfile_serialization=False),
        "compressed": compressed({**body, "w": torch.zeros(20_000_000)}),
    }


def test_a_small_file_that_asks_for_much_is_refused_at_no_cost(tmp_path):
    """In a process of its own, which is given 1 GB more than it has."""
    for name, data in asking().items():
        (tmp_path / f"{name}.pt").write_bytes(data)
    code = """
import resource, sys
from pathlib import Path
from store import checkpoints
from store.files import Foreign
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, resource.RLIM_INFINITY))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sorted(Path(sys.argv[1]).glob("*.pt")):
    try:
        checkpoints.load(path)
    except Foreign as error:
        print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    line = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(line, capture_output=True, text=True, cwd=ROOT, timeout=120)
    *refused, grown = done.stdout.splitlines()
    assert done.returncode == 0 and len(refused) == len(asking()), done.stdout + done.stderr
    assert int(grown) < 50  # MB


# ---- Files of others -------------------------------------------------------------------------


def signed(**changes) -> dict:
    body = {"format": FORMAT, "run_id": RUN.run_id, "identity": RUN.identity, **CONTENT, **changes}
    return {**body, "digest": content_digest(body)}


def endless() -> list:
    parts: list = []
    parts.append(parts)
    return parts


def numpy_file() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, w=np.ones(3))
    return buffer.getvalue()


FOREIGN = {
    "a state dict": saved(CONTENT["model"]),
    "a state dict of old": saved(CONTENT["model"], _use_new_zipfile_serialization=False),
    "a model": saved(nn.Linear(2, 2)),
    "a tensor": saved(torch.ones(3)),
    "an array": saved({"format": 1, "digest": "", "w": np.ones(3)}),
    "a sparse tensor": saved({"format": 1, "digest": "", "w": torch.eye(3).to_sparse()}),
    "a tensor without data": saved({"format": 1, "digest": "", "w": torch.ones(3, device="meta")}),
    "a list in itself": saved({"format": 1, "digest": "", "w": endless()}),
    "an older format": saved(signed(format=FORMAT - 1)),
    "a later format": saved(signed(format=FORMAT + 1)),
    "a pickle": pickle.dumps({"format": 1, "digest": ""}),
    "a numpy archive": numpy_file(),
    "text": b"weights of the mlp: see the cluster\n",
    "JSON": b'{"format": 1, "digest": ""}',
}


@pytest.mark.filterwarnings("ignore")  # torch's own, about sparse tensors
@pytest.mark.parametrize("kind", FOREIGN)
def test_whole_files_of_others_are_told_from_damaged_ones(path, kind):
    path.write_bytes(FOREIGN[kind])
    refused(path, Foreign)
    refused(path, Foreign, run=None)


# ---- Files that would run code ---------------------------------------------------------------


class Hostile:
    """Makes a file when it is unpickled."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self):
        return open, (str(self.target), "w")


def swapped(whole: bytes, hostile: Hostile) -> bytes:
    """A checkpoint of ours with its pickle exchanged: all checksums of the archive are right."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            is_pickle = name.endswith("data.pkl")
            new.writestr(name, pickle.dumps(hostile, 2) if is_pickle else old.read(name))
    return buffer.getvalue()


HOSTILE = {
    "zip": lambda whole, evil: saved(evil),
    "legacy": lambda whole, evil: saved(evil, _use_new_zipfile_serialization=False),
    "in a checkpoint": lambda whole, evil: saved({**signed(), "model": {"w": evil}}),
    "as a key": lambda whole, evil: saved({evil: 1, "format": 1, "digest": ""}),
    "after a checkpoint": lambda whole, evil: saved([signed(), evil]),
    "exchanged": swapped,
}


@pytest.mark.parametrize("way", HOSTILE)
def test_nothing_in_a_file_is_ever_run(path, way):
    target = path.parent / "made by a pickle"
    path.write_bytes(HOSTILE[way](path.read_bytes(), Hostile(target)))
    refused(path, Foreign)
    refused(path, Foreign, run=None)
    assert not target.exists()
    torch.load(path, weights_only=False)  # it would have
    assert target.exists()


def test_a_plain_hostile_pickle_is_not_run_either(path):
    target = path.parent / "made by a pickle"
    path.write_bytes(pickle.dumps(Hostile(target), 2))
    refused(path, Foreign)
    assert not target.exists()
    pickle.loads(path.read_bytes())
    assert target.exists()
