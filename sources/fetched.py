"""Published files that are known by their digests: found in the data folder, or fetched once.

Files not there are fetched from the first source that answers, into a scratch folder. Whatever the
source, the digests of every file are checked each time it is read, before anything in it is
believed.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import os
import socket
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sources.spec import DataError, DatasetSpec
from store.files import write_whole

MIRROR_TIMEOUT = 3.0  # seconds of silence after which a torchvision mirror is given up
ARCHIVE_TIMEOUT = 20.0  # the same in a download that takes minutes
MAX_BYTES = 1 << 30  # most that a file may hold or unpack to; EMNIST's archive takes 562 MB

Source = Callable[[str, Path], Path]
"""Is given the `torchvision_class` and an empty scratch folder; returns the folder that holds the
files. Raises DataError where it cannot."""


@contextlib.contextmanager
def _torchvision(timeout: float) -> Iterator:
    """Give torchvision's datasets for a download without long silence and progress bars."""
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(timeout)
    try:
        from torchvision import datasets  # slow to import, and not needed once the files are there

        with contextlib.redirect_stderr(io.StringIO()):
            yield datasets
    except Exception as error:  # whatever a network, a proxy or a mirror comes up with
        reason = str(error).strip() or type(error).__name__
        raise DataError(reason.splitlines()[-1]) from None
    finally:
        socket.setdefaulttimeout(patience)


def from_torchvision(torchvision_class: str, scratch: Path) -> Path:
    """Let torchvision download a dataset of idx files."""
    with _torchvision(MIRROR_TIMEOUT) as datasets:
        getattr(datasets, torchvision_class)(scratch, download=True)
    return scratch / torchvision_class / "raw"


def archive_from_torchvision(torchvision_class: str, scratch: Path) -> Path:
    """Let torchvision download a dataset's archive, and not unpack it."""
    with _torchvision(ARCHIVE_TIMEOUT) as datasets:
        datasets.utils.download_url(getattr(datasets, torchvision_class).url, str(scratch))
    return scratch


def read_bytes(path: Path) -> bytes:
    """The content of a file as it is; DataError where it cannot be read or is far too long."""
    try:
        if not path.is_file():  # opening a pipe would wait for ever
            raise DataError(f"{path}: not a file")
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    return _not_too_long(content, path)


def unzip(content: bytes, path: str | Path) -> bytes:
    """The unzipped content if it starts as gzip does, else the content as it is."""
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            return _not_too_long(file.read(MAX_BYTES + 1), path)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(f"{path}: damaged gzip file ({error})") from None


def _not_too_long(content: bytes, path: str | Path) -> bytes:
    if len(content) > MAX_BYTES:
        raise DataError(f"{path}: holds more than {MAX_BYTES:,} bytes; no dataset file does")
    return content


@dataclass(frozen=True, kw_only=True)
class FetchedSpec(DatasetSpec):
    """A dataset of published files; subclass it with a `read` that parses `contents`."""

    torchvision_class: str
    """Name in `torchvision.datasets`."""
    files: tuple[str, ...]
    """Names of the files, as they are published."""
    md5: tuple[str, ...]
    """Digest of each file, as torchvision gives it."""
    sha256: tuple[str, ...] = ()
    """The same by SHA-256, which nobody can forge; empty where it is not known."""
    sources: dict[str, Source]
    """Where to fetch the files, best first, each with a name for messages."""
    home: str = ""
    """Folder below the data folder where torchvision keeps the files, and so do we."""
    megabytes: int = 0
    """How much there is to fetch, where that takes minutes."""

    def contents(
        self, name: str, data_dir: Path, known: Mapping[str, DatasetSpec]
    ) -> dict[str, bytes]:
        """Look in torchvision's layout, then in `data_dir` itself, then fetch: each file's content.

        Raises:
            DataError: see `DatasetSpec.read`.
        """
        folders = dict.fromkeys((data_dir / self.home, data_dir))
        found = {file: self.find(name, known, file, *folders) for file in self.files}
        if missing := [file for file in self.files if found[file] is None]:
            found |= self._fetch(name, known, missing, data_dir)
        return found

    def variants(self, file: str) -> tuple[str, ...]:
        """Return the names under which a file may lie."""
        return (file,)

    def look(self, path: Path) -> bytes:
        """Return the content of a file that its digest is of."""
        return read_bytes(path)

    def explain(self, content: bytes, path: Path, which: int) -> None:
        """Raise DataError if a look into a wrong file tells what is wrong with it."""

    def find(
        self, name: str, known: Mapping[str, DatasetSpec], file: str, *folders: Path
    ) -> bytes | None:
        """The checked content of `file` from the first of the folders that has it, None if none.

        A wrong file is an error, not a reason to look further: whoever put it there should know.
        """
        which = self.files.index(file)
        for path in (folder / variant for folder in folders for variant in self.variants(file)):
            if not os.path.lexists(path):
                continue
            content = self.look(path)
            for kind, digests in (("md5", self.md5), ("sha256", self.sha256)):
                digest = hashlib.new(kind, content, usedforsecurity=False).hexdigest()
                if digests and digest != digests[which]:
                    self.explain(content, path, which)
                    owners = (key for key, one in known.items() if digest in getattr(one, kind, ()))
                    whose = "".join(f" (that is {owner})" for owner in owners)
                    found = f"{kind} {digest}{whose}, expected {digests[which]}"
                    raise DataError(f"{path}: not {name}'s: {found}")
            return content
        return None

    def _fetch(
        self, name: str, known: Mapping[str, DatasetSpec], missing: list[str], data_dir: Path
    ) -> dict[str, bytes]:
        """Put the `missing` files where torchvision would, from the first source that has them all.

        Raises DataError that names every way to get them, and why the automatic ones failed.
        """
        refusals = []
        for source, fetch in self.sources.items():
            if self.megabytes:
                print(f"{name}: fetching {self.megabytes} MB from {source}", flush=True)
            with tempfile.TemporaryDirectory() as scratch:
                try:
                    folder = fetch(self.torchvision_class, Path(scratch))
                    contents = {file: self.find(name, known, file, folder) for file in missing}
                    if None in contents.values():
                        raise DataError("files are missing there")
                except DataError as error:
                    refusals.append(f"{source} ({error})")
                    continue
            for file, content in contents.items():
                path = data_dir / self.home / file
                try:
                    write_whole(path, content)
                except OSError as error:
                    reason = error.strerror or error
                    raise DataError(f"{path}: cannot be written ({reason})") from None
            print(f"{name}: fetched from {source} into {data_dir / self.home}", flush=True)
            return contents
        either = ", raw or .gz," if len(self.variants("")) > 1 else ""
        refused = ", nor from ".join(refusals)
        raise DataError(
            f"{name}: no {', '.join(missing)} in {data_dir}, nor from {refused}. Make one of these "
            f"available, or put {', '.join(self.files)}{either} into {data_dir} (or name another "
            "folder with --data-dir)."
        )
