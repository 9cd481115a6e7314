"""sources/: archives in the official format, folders of images, and what is wrong with them.

What cannot be fetched here is made here: small archives, written as the official ones are, which
torchvision's own readers read too.
"""

import dataclasses
import functools
import gzip
import hashlib
import http.server
import io
import json
import os
import pickle
import socketserver
import struct
import tarfile
import threading
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import data
from config import Shape
from conftest import ROOT
from damage import snapshot
from data import DATASETS, DataError
from machine.checks import UsageError
from runner import options
from sources import cifar, emnist, folder, mnist
from sources.augment import crop_and_flip
from sources.folder import kept_path
from sources.idx import FILES
from store.records import load
from test_data import encode, refusing, write

rng = np.random.default_rng(0)


def digests(*contents: bytes) -> dict[str, tuple[str, ...]]:
    """The digests of a registry entry for these files."""
    return {
        "md5": tuple(hashlib.md5(content).hexdigest() for content in contents),
        "sha256": tuple(hashlib.sha256(content).hexdigest() for content in contents),
        "sources": {},
    }


# ---- KMNIST: idx files whose digests are those of the zipped files ---------------------------

SMALL_IDX = {
    FILES[0]: rng.integers(0, 256, (20, 28, 28), np.uint8),
    FILES[1]: rng.integers(0, 10, 20, np.uint8),
    FILES[2]: rng.integers(0, 256, (8, 28, 28), np.uint8),
    FILES[3]: rng.integers(0, 10, 8, np.uint8),
}


@pytest.fixture
def kmnist(monkeypatch) -> dict[str, bytes]:
    """The four files of a small KMNIST, which is registered."""
    contents = {f"{file}.gz": gzip.compress(encode(array)) for file, array in SMALL_IDX.items()}
    spec = dataclasses.replace(
        mnist.KMNIST, train_count=20, test_count=8, **digests(*contents.values())
    )
    monkeypatch.setitem(DATASETS, "kmnist", spec)
    return contents


@pytest.mark.parametrize("layout", ["", "KMNIST/raw"])
def test_kmnist_is_read_from_its_zipped_files(kmnist, tmp_path, layout):
    write(tmp_path / layout, kmnist)
    dataset = data.load("kmnist", tmp_path)
    for tensor, array in zip(dataclasses.astuple(dataset)[:4], SMALL_IDX.values(), strict=True):
        assert np.array_equal(tensor, array)


def test_kmnist_takes_no_file_that_has_no_published_digest(kmnist, tmp_path):
    write(tmp_path, {file.removesuffix(".gz"): b"anything" for file in kmnist})
    with pytest.raises(DataError, match=r"no train-images-idx3-ubyte.gz, .* in "):
        data.load("kmnist", tmp_path)
    write(tmp_path, kmnist | {"train-labels-idx1-ubyte.gz": kmnist["t10k-labels-idx1-ubyte.gz"]})
    with pytest.raises(DataError, match="holds 8 labels; expected 20 labels"):
        data.load("kmnist", tmp_path)


def test_kmnist_is_kept_as_it_was_fetched(kmnist, tmp_path, monkeypatch):
    sources = {"broken": refusing, "good": lambda cls, scratch: write(scratch, kmnist)}
    spec = dataclasses.replace(DATASETS["kmnist"], sources=sources)
    monkeypatch.setitem(DATASETS, "kmnist", spec)
    data.load("kmnist", tmp_path)
    kept = {p.name: p.read_bytes() for p in (tmp_path / "KMNIST" / "raw").iterdir()}
    assert kept == kmnist


# ---- EMNIST: transposed images, in one archive of all splits ---------------------------------


def emnist_archive(split: str, first: int, classes: int) -> tuple[bytes, dict[str, np.ndarray]]:
    """The archive of NIST, with a split of 2 training and 1 test image of each class."""
    arrays = {}
    for part, count in (("train", 2 * classes), ("test", classes)):
        images = rng.integers(0, 256, (count, 28, 28), np.uint8)
        labels = (first + rng.permutation(np.arange(count) % classes)).astype(np.uint8)
        arrays[f"emnist-{split}-{part}-images-idx3-ubyte"] = images
        arrays[f"emnist-{split}-{part}-labels-idx1-ubyte"] = labels
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("gzip/emnist-digits-mapping.txt", "0 48\n")
        for name, array in arrays.items():
            archive.writestr(f"gzip/{name}.gz", gzip.compress(encode(array)))
    return content.getvalue(), arrays


@pytest.mark.parametrize(("split", "first", "classes"), [("letters", 1, 26), ("balanced", 0, 47)])
@pytest.mark.parametrize("layout", ["", "EMNIST/raw"])
def test_emnist_is_upright_and_counts_from_0(tmp_path, monkeypatch, split, first, classes, layout):
    import torchvision

    content, arrays = emnist_archive(split, first, classes)
    name = f"emnist_{split}"
    assert DATASETS[name].shape == Shape(3, 28, 28, classes)
    sizes = {"train_count": 2 * classes, "test_count": classes}
    spec = dataclasses.replace(DATASETS[name], **sizes, **digests(content))
    monkeypatch.setitem(DATASETS, name, spec)
    write(tmp_path / layout, {"gzip.zip": content})
    dataset = data.load(name, tmp_path)
    write(tmp_path / "EMNIST" / "raw", {k: encode(v) for k, v in arrays.items()})
    for part in ("train", "test"):
        theirs = torchvision.datasets.EMNIST(tmp_path, split, train=part == "train")
        images, labels = getattr(dataset, f"{part}_images"), getattr(dataset, f"{part}_labels")
        assert torch.equal(images, theirs.data.mT)  # torchvision leaves them as they are
        assert torch.equal(labels, theirs.targets - first)
        letters = theirs.classes[first:]
        assert len(letters) == classes and set(labels.tolist()) == set(range(classes))


def test_emnist_archives_that_are_not_as_expected(tmp_path, monkeypatch):
    content, _ = emnist_archive("letters", 1, 26)
    for wrong, words in ((b"PK\3\4", "not a zip file"), (content, "emnist-balanced-train-images")):
        spec = dataclasses.replace(emnist.BALANCED, **digests(wrong))
        monkeypatch.setitem(DATASETS, "emnist_balanced", spec)
        write(tmp_path, {"gzip.zip": wrong})
        with pytest.raises(DataError, match=f"^emnist_balanced: gzip.zip is .*{words}"):
            data.load("emnist_balanced", tmp_path)
    spec = dataclasses.replace(emnist.LETTERS, first_label=0, **digests(content))
    sizes = {"train_count": 52, "test_count": 26}
    monkeypatch.setitem(DATASETS, "emnist_letters", dataclasses.replace(spec, **sizes))
    write(tmp_path, {"gzip.zip": content})
    with pytest.raises(DataError, match="a training label is 26, expected 0 to 25"):
        data.load("emnist_letters", tmp_path)


# ---- CIFAR: pickles of Python 2 --------------------------------------------------------------


def pickled(held: dict[str, str | list[int] | np.ndarray]) -> bytes:
    """A pickle as Python 2 with NumPy 1 wrote it (protocol 2, byte strings), by its opcodes."""

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value if len(value) < 256 else long_text(value)

    def long_text(value: bytes) -> bytes:
        return b"T" + struct.pack("<i", len(value)) + value

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    def array(value: np.ndarray) -> bytes:
        kind = b"cnumpy\ndtype\n" + text(b"u1") + b"K\0K\1\x87R"
        kind += b"(K\3" + text(b"|") + b"NNN" + number(-1) + number(-1) + b"K\0tb"
        empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85" + text(b"b")
        shape = b"".join(map(number, value.shape)) + b"\x86"
        return empty + b"\x87R(K\1" + shape + kind + b"\x89" + text(value.tobytes()) + b"tb"

    body = b""
    for key, value in held.items():
        body += text(key.encode())
        if isinstance(value, np.ndarray):
            body += array(value)
        elif isinstance(value, list):
            body += b"](" + b"".join(map(number, value)) + b"e"
        else:
            body += text(value.encode())
    return b"\x80\2}(" + body + b"u."


def test_the_pickles_of_this_test_are_what_they_seem():
    held = {"batch_label": "one", "labels": [3, 1], "data": np.arange(600, dtype=np.uint8)[None]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *words, **rest: None)  # NumPy's, of an old name
        found = pickle.loads(pickled(held), encoding="latin1")
    assert found.keys() == held.keys() and found["labels"] == held["labels"]
    assert np.array_equal(found["data"], held["data"])


def cifar_files(spec: cifar.CifarSpec, count: int = 4) -> dict[str, bytes]:
    """Each member of a small CIFAR archive."""
    files = {}
    for member in (*spec.train_members, spec.test_member):
        rows = rng.integers(0, 256, (count, 3072), np.uint8)
        labels = rng.integers(0, spec.shape.classes, count).tolist()
        held = {"batch_label": "of a test", spec.label_key: labels, "data": rows}
        files[member] = pickled(held)
    return files


def tar(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, body in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))
    return content.getvalue()


def register(monkeypatch, folder: Path, name: str, files: dict[str, bytes], count: int = 4) -> None:
    """Put an archive of the files into a folder, and register it by its own digests."""
    content, spec = tar(files), {"cifar10": cifar.CIFAR10, "cifar100": cifar.CIFAR100}[name]
    counts = {"train_count": count * len(spec.train_members), "test_count": count}
    monkeypatch.setitem(DATASETS, name, dataclasses.replace(spec, **counts, **digests(content)))
    write(folder, {spec.files[0]: content})


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
@pytest.mark.parametrize("turned", [False, True])
def test_cifar_is_what_torchvision_reads(name, turned, tmp_path, monkeypatch):
    import torchvision

    spec = DATASETS[name]
    files = cifar_files(spec)
    files = dict(reversed(files.items())) if turned else files
    base = spec.test_member.partition("/")[0]
    key = "label_names" if name == "cifar10" else "fine_label_names"
    meta = "batches.meta" if name == "cifar10" else "meta"
    extra = {f"{base}/{meta}": pickled({key: [1, 2]}), "../../escaped": b"!"}
    register(monkeypatch, tmp_path, name, {**extra, **files})
    before = snapshot(tmp_path)
    dataset = data.load(name, tmp_path)
    assert snapshot(tmp_path) == before and not (tmp_path.parent / "escaped").exists()

    def named(member: str) -> list[str]:
        return [Path(member).name, hashlib.md5({**extra, **files}[member]).hexdigest()]

    theirs_of = getattr(torchvision.datasets, spec.torchvision_class)
    monkeypatch.setattr(theirs_of, "train_list", [named(m) for m in spec.train_members])
    monkeypatch.setattr(theirs_of, "test_list", [named(spec.test_member)])
    _, md5 = named(f"{base}/{meta}")
    monkeypatch.setattr(theirs_of, "meta", {"filename": meta, "key": key, "md5": md5})

    (tmp_path / base).mkdir()
    for member, content in {**extra, **files}.items():
        if member.startswith(base):
            (tmp_path / member).write_bytes(content)
    monkeypatch.setattr("warnings.warn", lambda *words, **rest: None)
    for part in ("train", "test"):
        theirs = theirs_of(tmp_path, train=part == "train")
        images = torch.tensor(theirs.data).permute(0, 3, 1, 2)
        assert torch.equal(getattr(dataset, f"{part}_images"), images)
        assert getattr(dataset, f"{part}_labels").tolist() == theirs.targets
    assert dataset.classes == spec.shape.classes == int(name.removeprefix("cifar"))


class Evil:
    def __reduce__(self):
        return os.mkdir, ("made by a pickle",)


@pytest.mark.parametrize("digest", ["of another", "its own"])
def test_no_pickle_runs_code(digest, tmp_path, monkeypatch):
    """Its digest is checked before it is opened; were it forged, nothing would be called."""
    monkeypatch.chdir(tmp_path)
    files = cifar_files(cifar.CIFAR10)
    files["cifar-10-batches-py/data_batch_2"] = pickle.dumps(Evil())
    register(monkeypatch, tmp_path, "cifar10", files)
    words = "data_batch|call posix.mkdir|call nt.mkdir"
    if digest == "of another":
        monkeypatch.setitem(DATASETS, "cifar10", cifar.CIFAR10)
        monkeypatch.setattr(tarfile, "open", None)  # it is not even unpacked
        words = r"cifar-10-python.tar.gz: not cifar10's: md5 \w+, expected c58f30108f718f92721af3b9"
    with pytest.raises(DataError, match=words):
        data.load("cifar10", tmp_path)
    assert not Path("made by a pickle").exists()
    pickle.loads(pickle.dumps(Evil()))
    assert Path("made by a pickle").exists()  # as it would have


WRONG = {
    "no such member": ({"cifar-10-batches-py/test_batch": None}, "KeyError: .*test_batch"),
    "not a pickle": ({"cifar-10-batches-py/test_batch": b"GIF89a"}, "is not as expected"),
    "cut": ({"cifar-10-batches-py/test_batch": b"\x80\2}("}, "is not as expected"),
    "no labels": (
        {"cifar-10-batches-py/test_batch": pickled({"data": np.zeros((4, 3072), np.uint8)})},
        "KeyError: 'labels'",
    ),
    "small images": (
        {
            "cifar-10-batches-py/test_batch": pickled(
                {"labels": [1], "data": np.zeros((1, 5), "u1")}
            )
        },
        "ValueError: cannot reshape",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_cifar_archives_that_are_not_as_expected(case, tmp_path, monkeypatch):
    changes, words = WRONG[case]
    files = {k: v for k, v in {**cifar_files(cifar.CIFAR10), **changes}.items() if v is not None}
    register(monkeypatch, tmp_path, "cifar10", files)
    with pytest.raises(DataError, match=f"cifar10: cifar-10-python.tar.gz .*{words}") as caught:
        data.load("cifar10", tmp_path)
    assert "\n" not in str(caught.value)


def test_an_archive_that_is_no_archive(tmp_path, monkeypatch):
    spec = dataclasses.replace(cifar.CIFAR10, **digests(b"<!DOCTYPE html>"))
    monkeypatch.setitem(DATASETS, "cifar10", spec)
    write(tmp_path, {"cifar-10-python.tar.gz": b"<!DOCTYPE html>"})
    with pytest.raises(DataError, match="cifar10: cifar-10-python.tar.gz is not as expected"):
        data.load("cifar10", tmp_path)


def test_an_archive_is_fetched_whole_and_not_unpacked(tmp_path, monkeypatch, capsys):
    """Through torchvision's own download, from a server of this test."""
    import torchvision

    register(monkeypatch, tmp_path / "web", "cifar10", cifar_files(cifar.CIFAR10))
    spec = dataclasses.replace(DATASETS["cifar10"], sources=cifar.CIFAR10.sources)
    monkeypatch.setitem(DATASETS, "cifar10", spec)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *words: None)
    monkeypatch.setattr(socketserver.BaseServer, "handle_error", lambda *words: None)  # it hangs up
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "web")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        url = f"http://127.0.0.1:{server.server_port}/cifar-10-python.tar.gz"
        monkeypatch.setattr(torchvision.datasets.CIFAR10, "url", url)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        dataset = data.load("cifar10", tmp_path / "d")
        server.shutdown()
    assert len(dataset.train_images) == 20
    assert [p.name for p in (tmp_path / "d").iterdir()] == ["cifar-10-python.tar.gz"]
    out, err = capsys.readouterr()
    assert out.count("\n") == 2 and "fetching 170 MB" in out and err == ""


# ---- What is read is what the dataset says ---------------------------------------------------


class Given(data.DatasetSpec):
    """A dataset of arrays."""

    def read(self, name, data_dir, known):
        return GIVEN[name]


GIVEN: dict[str, tuple] = {}
GOOD = (
    np.zeros((6, 2, 5, 4), np.uint8),
    np.array([0, 1, 2, 0, 1, 2]),
    np.zeros((3, 2, 5, 4), np.uint8),
    np.array([2, 1, 0]),
)
FAULTS = {
    "floats": ((0, GOOD[0] / 255), "training images are float64, expected uint8, 0 to 255"),
    "dimensions": ((2, GOOD[2][0, 0]), "test images have 2 dimensions, expected 3 or 4"),
    "grey": ((0, GOOD[0][:, 0]), "training images of 1 channels, expected 2"),
    "colours": ((2, np.zeros((3, 3, 5, 4), "u1")), "test images of 3 channels, expected 2"),
    "channels last": ((0, GOOD[0].swapaxes(1, 3)), "training images of 4 channels, expected 2"),
    "turned": ((0, GOOD[0].swapaxes(2, 3)), "training images of 4x5, expected 5x4"),
    "fewer": ((0, GOOD[0][:5]), "5 training images with 6 labels, expected 6 of each"),
    "fewer labels": ((3, GOOD[3][:2]), "3 test images with 2 labels, expected 3 of each"),
    "one-hot": ((3, np.eye(3, dtype=int)), "3 test images with 9 labels, expected 3 of each"),
    "negative": ((1, GOOD[1] - 1), "a training label is -1, expected 0 to 2"),
    "large": ((1, GOOD[1] + 1), "a training label is 3, expected 0 to 2"),
    "broken labels": ((3, GOOD[3] / 2), "test labels are float64, expected whole numbers"),
}


@pytest.fixture
def given(monkeypatch):
    spec = Given(train_count=6, test_count=3, shape=Shape(2, 5, 4, 3))
    monkeypatch.setitem(DATASETS, "given", spec)

    def register(which=0, array=GOOD[0]):
        GIVEN["given"] = tuple(array if n == which else good for n, good in enumerate(GOOD))

    return register


def test_what_is_as_said_is_taken(given, tmp_path):
    given()
    assert data.load("given", tmp_path, 4).train_images.shape == (4, 2, 5, 4)


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_not_as_said_is_refused_in_a_sentence(given, tmp_path, fault):
    change, words = FAULTS[fault]
    given(*change)
    with pytest.raises(DataError, match=f"^given: (a )?{words}$"):
        data.load("given", tmp_path)


# ---- Crop and flip ---------------------------------------------------------------------------


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_result_is_a_crop_of_the_padded_image_or_of_its_mirror():
    x = torch.rand(400, 3, 6, 5)
    seen = set()
    for image, got in zip(x, crop_and_flip(x, stream()), strict=True):
        found = []
        for mirrored in (False, True):
            padded = torch.nn.functional.pad(image.flip(-1) if mirrored else image, [4] * 4)
            for down in range(9):
                for right in range(9):
                    if torch.equal(padded[:, down : down + 6, right : right + 5], got):
                        found.append((down, right, mirrored))
        assert found
        seen.update(found[:1])
    assert len(seen) > 120  # of 162
    assert {s[0] for s in seen} == {s[1] for s in seen} == set(range(9))


def test_crops_and_flips_follow_their_stream_and_nothing_else():
    x = torch.rand(64, 3, 32, 32)
    before, state = x.clone(), torch.get_rng_state()
    generator = stream(1)
    first, second = crop_and_flip(x, generator), crop_and_flip(x, generator)
    assert torch.equal(x, before) and torch.equal(torch.get_rng_state(), state)
    assert torch.equal(crop_and_flip(x, stream(1)), first)
    assert not torch.equal(first, second)
    assert not torch.equal(crop_and_flip(x, stream(2)), first)


def test_training_on_augmented_images_resumes_bit_for_bit(tmp_path, monkeypatch):
    from config import Recipe, Run
    from store.checkpoints import content_digest
    from train import Stopped, train

    register(monkeypatch, tmp_path, "cifar10", cifar_files(cifar.CIFAR10))
    dataset = data.load("cifar10", tmp_path)
    run = Run("mlp", "noisy", 0, Recipe(dataset="cifar10", epochs=2, batch_size=8))
    cpu = torch.device("cpu")
    whole, history = train(run, dataset, cpu)
    for after in (1, 3, 5):
        states, stops = [], iter([False] * (after - 1) + [True])
        with pytest.raises(Stopped):
            train(run, dataset, cpu, None, states.append, stops.__next__)
        kept = io.BytesIO()
        torch.save(states[-1], kept)
        kept.seek(0)
        model, again = train(run, dataset, cpu, torch.load(kept, weights_only=True))
        assert content_digest(model.state_dict()) == content_digest(whole.state_dict())
        assert again == history
    plain = dataclasses.replace(DATASETS["cifar10"], augment=None)
    monkeypatch.setitem(DATASETS, "cifar10", plain)
    assert train(run, dataset, cpu)[1] != history


# ---- Folders of images -----------------------------------------------------------------------


def paint(home: Path, shape=(6, 5), classes=("ant", "bee"), count=6, seed=0) -> Path:
    """A folder of PNG files by class; a shape of three dimensions is of colours."""
    pixels = np.random.default_rng(seed)
    for part, n in (("train", count), ("test", count // 2)):
        for kind in classes:
            (home / part / kind).mkdir(parents=True, exist_ok=True)
            for i in range(n):
                image = Image.fromarray(pixels.integers(0, 256, shape, np.uint8))
                image.save(home / part / kind / f"{i}.png")
    return home


@pytest.fixture(autouse=True)
def no_trace():
    """What a test identifies is not known to the next one."""
    before = dict(DATASETS)
    yield
    DATASETS.clear()
    DATASETS.update(before)


def identify(home: Path, data_dir: Path) -> str:
    return data.identify(f"folder:{home}", data_dir)


@pytest.mark.parametrize(("shape", "channels"), [((6, 5), 1), ((6, 5, 3), 3)])
def test_a_folder_is_a_dataset(tmp_path, shape, channels):
    home, kept = paint(tmp_path / "in sects", shape), tmp_path / "d"
    before = snapshot(tmp_path)
    name = identify(home, kept)
    assert snapshot(tmp_path) == before  # nothing is written yet
    assert name.startswith("folder:in_sects@") and len(name) == len("folder:in_sects@") + 8
    spec = DATASETS[name]
    assert spec.shape == Shape(channels, 6, 5, 2)
    assert (spec.train_count, spec.test_count, spec.augment) == (12, 6, None)
    dataset = data.load(name, kept)
    assert [p.name for p in kept.rglob("*.npz")] == [f"{name.removeprefix('folder:')}.npz"]
    pixels = dataset.train_images.double() / 255
    every = (0, 2, 3)
    assert np.allclose(spec.mean, pixels.mean(every), rtol=1e-12)
    assert np.allclose(spec.std, pixels.std(every, correction=0), rtol=1e-12)

    # every image with its label, mixed by class, the same wherever it is read
    for part, count in (("train", 6), ("test", 3)):
        images, labels = getattr(dataset, f"{part}_images"), getattr(dataset, f"{part}_labels")
        held = {(int(k), i.numpy().tobytes()) for k, i in zip(labels, images, strict=True)}
        for label, kind in enumerate(("ant", "bee")):
            for n in range(count):
                image = np.asarray(Image.open(home / part / kind / f"{n}.png"))
                image = image if channels == 1 else image.transpose(2, 0, 1)
                assert (label, image.tobytes()) in held
        assert len(held) == 2 * count
    assert dataset.train_labels.tolist() not in ([0] * 6 + [1] * 6, [1] * 6 + [0] * 6)


def test_a_folder_is_known_by_its_content_and_not_by_where_it_lies(tmp_path):
    names = {identify(paint(tmp_path / place / "it"), tmp_path) for place in ("a", "b/c")}
    (moved,) = names
    home = tmp_path / "a" / "it"
    (home / "train" / "bee" / "0.png").rename(home / "train" / "bee" / "of another name.png")
    (home / "train" / "bee" / ".hidden").write_text("")
    (home / "test" / "ant" / "Thumbs.db").write_text("")
    assert identify(home, tmp_path) == moved
    Image.open(home / "train" / "ant" / "0.png").save(home / "train" / "ant" / "0.bmp")
    (home / "train" / "ant" / "0.png").unlink()
    assert identify(home, tmp_path) == moved
    (home / "train" / "ant" / "0.bmp").rename(home / "train" / "bee" / "0.bmp")
    changed = identify(home, tmp_path)
    assert changed != moved
    pixels = np.asarray(Image.open(home / "test" / "bee" / "1.png")).copy()
    pixels[0, 0] ^= 1
    Image.fromarray(pixels).save(home / "test" / "bee" / "1.png")
    assert identify(home, tmp_path) not in (moved, changed)


def test_what_was_kept_serves_without_the_folder_and_on_another_machine(tmp_path):
    home, kept = paint(tmp_path / "it", (4, 4, 3)), tmp_path / "d"
    name = identify(home, kept)
    first, spec = data.load(name, kept), DATASETS.pop(name)
    paint(home, (4, 4, 3), seed=1)  # the folder is another one now
    kept.rename(tmp_path / "other")
    found = data.load(name, tmp_path / "other")
    assert dataclasses.replace(spec, folder=None) == DATASETS[name]
    for a, b in zip(dataclasses.astuple(first), dataclasses.astuple(found), strict=True):
        assert a == b if isinstance(a, int) else torch.equal(a, b)
    assert identify(home, kept) != name


def test_what_was_kept_and_damaged_is_told(tmp_path):
    name = identify(paint(tmp_path / "it"), tmp_path)
    data.load(name, tmp_path)
    path = kept_path(name, tmp_path)
    whole = path.read_bytes()
    for content in (whole[:-30], b"", whole.replace(b"train_images", b"train_imagos")):
        path.write_bytes(content)
        DATASETS.pop(name, None)
        with pytest.raises(DataError, match=f"{path}: damaged .*; remove it") as caught:
            data.load(name, tmp_path)
        assert "\n" not in str(caught.value)
    with np.load(io.BytesIO(whole)) as held:
        arrays = {key: held[key] for key in held}
    arrays["train_images"][0, 0, 0] ^= 1
    np.savez(path, **arrays)
    with pytest.raises(DataError, match="its images are not those of"):
        data.load(name, tmp_path)
    assert kept_path(name, tmp_path).exists()


def test_a_folder_that_changes_while_it_is_read_is_told(tmp_path):
    home = paint(tmp_path / "it")
    name = identify(home, tmp_path)
    paint(home, seed=1)
    with pytest.raises(DataError, match="its images are not those of"):
        data.load(name, tmp_path)
    assert not kept_path(name, tmp_path).exists()


def wrong_size(home: Path) -> None:
    Image.fromarray(np.zeros((5, 6), np.uint8)).save(home / "train" / "bee" / "x.png")


def deep(home: Path) -> None:
    Image.fromarray(np.zeros((6, 5), np.uint16)).save(home / "train" / "bee" / "x.png")


def transparent(home: Path) -> None:
    Image.new("RGBA", (5, 6), (1, 2, 3, 254)).save(home / "train" / "bee" / "x.png")


def no_test(home: Path) -> None:
    (home / "test").rename(home / "tests")


def another_class(home: Path) -> None:
    (home / "test" / "bee").rename(home / "test" / "Bee")


def one_class(home: Path) -> None:
    for part in ("train", "test"):
        (home / part / "bee").rename(home / f"{part} bee")


def empty(home: Path) -> None:
    for path in (home / "test").rglob("*.png"):
        path.unlink()


def loose(home: Path) -> None:
    (home / "train" / "labels.csv").write_text("0,1")


def text(home: Path) -> None:
    (home / "test" / "ant" / "notes.txt").write_text("these are ants")


def cut(home: Path) -> None:
    path = home / "test" / "ant" / "0.png"
    path.write_bytes(path.read_bytes()[:50])


def broken_link(home: Path) -> None:
    (home / "test" / "ant" / "x.png").symlink_to("nowhere")


BAD = {
    wrong_size: "train/bee/x.png: 6x5 pixels, but train/ant/0.png has 5x6; make them alike",
    deep: "train/bee/x.png: has pixels of more than 8 bits .mode I;16.; takes 8 bits",
    transparent: "train/bee/x.png: has transparent pixels",
    no_test: "takes a folder with train/ and test/ by class",
    another_class: "test/Bee: no class of that name with images in train/",
    one_class: "train/: images of 1 class; takes two or more",
    empty: "no images in test/",
    loose: "train/labels.csv: not in the folder of a class; move it there",
    text: "test/ant/notes.txt: cannot be read as an image .cannot identify image file",
    cut: "test/ant/0.png: cannot be read as an image",
    broken_link: "test/ant/x.png: cannot be read .No such file or directory",
}


@pytest.mark.parametrize("spoil", BAD, ids=lambda spoil: spoil.__name__)
def test_a_folder_that_will_not_do_is_refused_in_a_sentence(spoil, tmp_path):
    home = paint(tmp_path / "it")
    spoil(home)
    before = snapshot(tmp_path)
    words = ["--dataset", f"folder:{home}", "--data-dir", str(tmp_path / "d")]
    with pytest.raises(UsageError, match=f"^--dataset: .*{BAD[spoil]}") as caught:
        options.check(options.read(words))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 250
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    "given", ["", "nothing", "file", "a\0b", "x" * 5000, "it@0123abcd", "\ud800"]
)
def test_what_is_no_folder_is_refused_in_a_sentence(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    with pytest.raises(UsageError, match="^--dataset: .*folder:PATH") as caught:
        options.check(options.read(["--dataset", f"folder:{given}"]))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 250


def test_modes_of_images(tmp_path):
    """Grey with colours is colours; a palette and an opaque alpha channel are read as they look."""
    home = paint(tmp_path / "it", (6, 5))
    rgb = np.random.default_rng(1).integers(0, 256, (6, 5, 3), np.uint8)
    palette = Image.fromarray(rgb).quantize(256)
    palette.save(home / "train" / "ant" / "p.png")
    Image.fromarray(rgb).convert("RGBA").save(home / "train" / "ant" / "a.png")
    name = identify(home, tmp_path)
    assert DATASETS[name].shape == Shape(3, 6, 5, 2)
    held = [image.numpy().tobytes() for image in data.load(name, tmp_path).train_images]
    assert rgb.transpose(2, 0, 1).tobytes() in held
    assert np.asarray(palette.convert("RGB")).transpose(2, 0, 1).tobytes() in held
    grey = np.asarray(Image.open(home / "train" / "bee" / "0.png"))
    assert np.stack([grey] * 3).tobytes() in held


def test_a_constant_channel_does_not_divide_by_zero(tmp_path):
    images = np.zeros((3, 3, 2, 2), np.uint8)
    images[:, 0] = [[0, 255], [255, 0]]
    assert folder.spread(images) == ((0.5, 0.0, 0.0), (0.5, 1.0, 1.0))
    assert folder.spread(images[:, 0]) == (0.5, 0.5)


def test_the_plan_names_the_content(tmp_path):
    home = paint(tmp_path / "it")
    words = ["--dataset", f"folder:{home}", "--data-dir", str(tmp_path / "d")]
    asked = options.read(
        ["mlp", *words, "--train-size", "12", "--test-size", "6", "--batch-size", "4"]
    )
    options.check(asked)
    plan = options.make_plan(asked)
    assert plan.recipe.dataset == identify(home, tmp_path)
    assert (plan.recipe.train_size, plan.sweep.test_size) == (0, 0)
    assert str(tmp_path) not in repr(plan)
    for wrong in ("mlp --train-size 13", "mlp --test-size 7", "vit --batch-size 4"):
        with pytest.raises(UsageError, match="^(--train-size|--test-size|ARCH): "):
            options.check(options.read([*wrong.split(), *words]))


# ---- Whole runs on real images ---------------------------------------------------------------


def save_all(home: Path, part: str, images: Iterable[np.ndarray], labels: np.ndarray) -> None:
    for n, (image, label) in enumerate(zip(images, labels, strict=True)):
        (home / part / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(home / part / str(label) / f"{n}.png")


def digits(home: Path) -> int:
    """scikit-learn's 1797 digits of 8x8 pixels, 0 to 16; the last 360 for testing."""
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn has the digits")
    held = datasets.load_digits()
    images = (held.images * 255 / 16).round().astype(np.uint8)
    save_all(home, "train", images[:-360], held.target[:-360])
    save_all(home, "test", images[-360:], held.target[-360:])
    return 8


def clothes(home: Path) -> int:
    """A part of Fashion-MNIST, made smaller."""
    try:
        held = data.load("fashion_mnist", ROOT / "data", 900, 200)
    except DataError as error:
        pytest.skip(str(error))
    for part in ("train", "test"):
        images, labels = getattr(held, f"{part}_images"), getattr(held, f"{part}_labels")
        small = [np.asarray(Image.fromarray(i).resize((16, 16))) for i in images.numpy()]
        save_all(home, part, small, labels.numpy())
    return 16


@pytest.mark.slow
@pytest.mark.parametrize("make", [digits, clothes])
def test_a_folder_goes_from_the_command_line_to_the_report(make, command, tmp_path):
    home, kept = tmp_path / make.__name__, tmp_path / "kept"
    size = make(home)
    line = ["run_experiments.py", "mlp", "cnn", "resnet20", "vit", "--dataset", f"folder:{home}"]
    words = "--seeds 0 --epochs 3 --batch-size 64 --draws 2 --device cpu --train-size 900"
    line += f"{words} --alphas 0 0.5 2 --test-size 200 --peak-lr 0.01".split()
    line += ["--data-dir", kept, "--checkpoint-dir", tmp_path / "ckpt"]
    line += ["--results-dir", tmp_path / "results"]
    done = command(*line, folders=False)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = pd.read_csv(tmp_path / "results" / "summary.csv")
    best = summary[summary.regime == "clean"].set_index("architecture").acc_0
    assert len(summary) == 8 and best["mlp"] > 0.6 and best["cnn"] > 0.6
    (name,) = {
        load(p)["identity"]["recipe"]["dataset"] for p in (tmp_path / "results/runs").glob("*")
    }
    assert name.startswith(f"folder:{make.__name__}@")
    assert name in (tmp_path / "results" / "report.html").read_text()
    (path,) = (tmp_path / "ckpt").glob("mlp-clean-*.pt")
    weights = torch.load(path, weights_only=True)["model"]
    assert weights["net.0.weight"].shape == (512, size * size)

    # nothing is done again when the folder is gone and its name is given
    home.rename(tmp_path / "away")
    line[line.index(f"folder:{home}")] = name
    again = command(*line, folders=False)
    assert again.returncode == 0 and "to do" not in again.stdout, again.stdout + again.stderr
    status = ["--status", "--data-dir", kept, "--results-dir", tmp_path / "results"]
    done = command("run_experiments.py", *status, folders=False)
    assert done.stdout.startswith("8 runs: 8 finished"), done.stdout + done.stderr
    plan = json.loads((tmp_path / "results" / "plan.json").read_text())
    assert plan["recipe"]["dataset"] == name


def test_data_py_fetches_by_name(tmp_path, capsys):
    home = paint(tmp_path / "it", (6, 5, 3))
    data.main(f"folder:{home}", tmp_path / "d")
    out, _ = capsys.readouterr()
    assert "Train batch: x.shape=torch.Size([12, 3, 6, 5])" in out
    assert "folder:it@" in out and len(list((tmp_path / "d").rglob("*.npz"))) == 1
    with pytest.raises(SystemExit) as end:
        data.main("cifar", tmp_path)
    out, err = capsys.readouterr()
    assert end.value.code == 2
    assert out == "" and ": --dataset: " in err and err.count("\n") == 1
    assert "cifar10, cifar100, " in err and "folder:PATH" in err
