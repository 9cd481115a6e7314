"""files.py: a file is whole or absent, whatever fails, whoever else writes, whenever it dies."""

import errno
import io
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from store import files
from store.files import clear_leftovers, set_aside, write_new, write_whole

ROOT = Path(files.__file__).parent
FULL = OSError(errno.ENOSPC, "No space left on device")
NEW = b"new" * 1000


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ---- Writing ---------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"x", NEW, memoryview(NEW)])
def test_a_file_holds_what_was_written(tmp_path, data):
    for path in (tmp_path / "new" / "folder" / "a.json", tmp_path / "new" / "folder" / "a.json"):
        write_whole(path, data)
        assert path.read_bytes() == bytes(data)
    assert names(path.parent) == ["a.json"]


def test_the_content_reaches_the_disk_before_the_name_and_the_name_before_the_return(
    tmp_path, monkeypatch
):
    calls = []

    def watch(name: str) -> None:
        true = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args: (calls.append(name), true(*args))[1])

    for name in ("fsync", "replace"):
        watch(name)
    write_whole(tmp_path / "a.json", NEW)
    assert calls == ["fsync", "replace", "fsync"]


class HalfFile(io.FileIO):
    """A file on a disk that is full before the end."""

    def write(self, data):
        super().write(data[: len(data) // 2])
        raise FULL


def failing(error: BaseException):
    def fail(*args, **kwargs):
        raise error

    return fail


FAULTS = {
    "open": lambda patch: patch.setattr(files, "open", failing(FULL), raising=False),
    "write": lambda patch: patch.setattr(files, "open", HalfFile, raising=False),
    "fsync": lambda patch: patch.setattr(os, "fsync", failing(FULL)),
    "replace": lambda patch: patch.setattr(os, "replace", failing(FULL)),
    "Ctrl-C": lambda patch: patch.setattr(os, "fsync", failing(KeyboardInterrupt())),
}


@pytest.mark.parametrize("old", [None, b"old"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_write_that_fails_changes_nothing(tmp_path, monkeypatch, fault, old):
    path = tmp_path / "a.json"
    if old is not None:
        path.write_bytes(old)
    with monkeypatch.context() as patch:
        FAULTS[fault](patch)
        with pytest.raises(KeyboardInterrupt if fault == "Ctrl-C" else OSError):
            write_whole(path, NEW)
    assert names(tmp_path) == ([] if old is None else ["a.json"])
    assert old is None or path.read_bytes() == old
    write_whole(path, NEW)
    assert path.read_bytes() == NEW


def test_a_file_that_grows_too_large_changes_nothing(tmp_path):
    """A real failure of the system, in the middle of a write."""
    path = tmp_path / "a.json"
    path.write_bytes(b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            write_whole(path, bytes(1_000_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert names(tmp_path) == ["a.json"] and path.read_bytes() == b"old"


def test_a_cleanup_that_fails_too_does_not_hide_the_cause(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "replace", failing(FULL))
    monkeypatch.setattr(os, "unlink", failing(PermissionError(errno.EACCES, "Permission denied")))
    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "a.json", NEW)


@pytest.mark.parametrize("call", ["open", "fsync"])
def test_a_folder_that_cannot_be_synced_keeps_the_file(tmp_path, monkeypatch, call):
    """The rename is done by then: an error would say that it was not."""
    true = getattr(os, call)
    calls = []

    def refuse_folders(target, *args):
        calls.append(target)
        if target == tmp_path or len(calls) == 2:  # the second fsync is the folder's
            raise OSError(errno.EINVAL, "Invalid argument")
        return true(target, *args)

    monkeypatch.setattr(os, call, refuse_folders)
    write_whole(tmp_path / "a.json", NEW)
    assert calls and (tmp_path / "a.json").read_bytes() == NEW


@pytest.mark.parametrize("where", ["file/a.json", "a" * 300])
def test_paths_that_cannot_be_are_an_os_error(tmp_path, where):
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(OSError):
        write_whole(tmp_path / where, NEW)
    assert names(tmp_path) == ["file"] and (tmp_path / "file").read_bytes() == b"old"


@pytest.mark.parametrize("code", [None, errno.EPERM, errno.ENOTSUP])
def test_a_name_is_made_once_with_hard_links_and_without(tmp_path, monkeypatch, code):
    if code:
        monkeypatch.setattr(os, "link", failing(OSError(code, "no links here")))
    path = tmp_path / "a.pt"
    assert write_new(path, NEW) and not write_new(path, b"other")
    assert path.read_bytes() == NEW and names(tmp_path) == ["a.pt"]


def test_another_error_than_a_taken_name_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", failing(FULL))
    with pytest.raises(OSError, match="No space left"):
        write_new(tmp_path / "a.pt", NEW)
    assert names(tmp_path) == []


# ---- Leftovers and damaged files -------------------------------------------------------------


def test_only_old_leftovers_of_ours_are_swept(tmp_path):
    old = time.time() - files.LEFTOVER_AGE - 60
    ours = ".mlp-clean-seed0-0123456789.json.0123456789ab.tmp"
    kept = [".young.json.0123456789ab.tmp", ".theirs.tmp", "a.json", "b.tmp", ".a.0123456789ab"]
    for name in (ours, *kept):
        (tmp_path / name).write_bytes(b"")
        os.utime(tmp_path / name, (old, old))
    os.utime(tmp_path / kept[0])
    (tmp_path / ".folder.0123456789ab.tmp").mkdir()
    os.utime(tmp_path / ".folder.0123456789ab.tmp", (old, old))
    assert clear_leftovers(tmp_path) == 1
    assert names(tmp_path) == sorted([*kept, ".folder.0123456789ab.tmp"])
    assert clear_leftovers(tmp_path / "not there") == 0


def test_damaged_files_are_numbered_and_kept(tmp_path):
    path = tmp_path / "a.pt"
    for n in range(3):
        path.write_text(str(n))
        assert set_aside(path).read_text() == str(n)
    assert names(tmp_path) == ["a.pt.corrupt", "a.pt.corrupt1", "a.pt.corrupt2"]


def test_a_file_that_another_process_set_aside_is_no_error(tmp_path):
    set_aside(tmp_path / "a.pt")
    assert names(tmp_path) == []


# ---- Processes -------------------------------------------------------------------------------

SIZE = 200_000
WRITER = f"""
import sys
from pathlib import Path
from files import write_whole
path, letters, times = Path(sys.argv[1]), sys.argv[2].encode(), int(sys.argv[3])
print("ready", flush=True)
for n in range(times):
    write_whole(path, letters[n % len(letters):][:1] * {SIZE})
"""


def writer(path: Path, letters: str, times: int) -> subprocess.Popen:
    """Start a process that writes files of one letter, in turn; return it once it is at it."""
    line = [sys.executable, "-c", WRITER, str(path), letters, str(times)]
    process = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    return process


def is_whole(path: Path, letters: str) -> bool:
    data = path.read_bytes()
    return data in [letter.encode() * SIZE for letter in letters]


def test_many_writers_leave_one_whole_file(tmp_path):
    path = tmp_path / "a.json"
    write_whole(path, b"0" * SIZE)
    writers = [writer(path, letter, 40) for letter in "abcd"]
    while any(process.poll() is None for process in writers):
        assert is_whole(path, "0abcd")
    assert [process.wait() for process in writers] == [0] * 4
    assert is_whole(path, "abcd")
    assert names(tmp_path) == ["a.json"]


def test_sigkill_at_any_instant_leaves_a_whole_file(tmp_path):
    path = tmp_path / "a.json"
    write_whole(path, b"0" * SIZE)
    instants = random.Random(0)
    for _ in range(10):
        process = writer(path, "ab", 1_000_000)
        time.sleep(instants.uniform(0, 0.02))
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert is_whole(path, "0ab")
    leftovers = len(names(tmp_path)) - 1
    assert leftovers <= 10
    assert clear_leftovers(tmp_path) == 0  # they may yet have a living writer
    assert clear_leftovers(tmp_path, age=-1) == leftovers
    assert names(tmp_path) == ["a.json"]
