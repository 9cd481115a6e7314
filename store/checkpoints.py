"""Checkpoints on disk: written whole, verified by digest, loaded without running code.

A finished run leaves `<run_id>.pt`; a run in training keeps `<run_id>.resume.pt`, replaced after
every epoch and removed at the end. Both are `torch.save` files of one dictionary:

    format, run_id, identity   as in a record
    epoch                      epochs done
    history                    mean training loss of each epoch
    model                      state dict
    provenance                 versions, device, threads, times
    training                   optimiser, schedule and random streams (only in `.resume.pt`)
    digest                     SHA-256 of all the rest
"""

import hashlib
import io
import zipfile
from pathlib import Path

import torch
from torch import nn

from config import Run
from machine import memory
from store.archives import check_archive, check_size
from store.files import Damaged, Foreign, read_regular, write_new, write_whole

FORMAT = 1


def final_path(folder: Path, run: Run) -> Path:
    """Return where the trained weights of `run` are kept."""
    return folder / f"{run.run_id}.pt"


def resume_path(folder: Path, run: Run) -> Path:
    """Return where the state of `run` is kept while it trains."""
    return folder / f"{run.run_id}.resume.pt"


def content_digest(content) -> str:
    """Return the SHA-256 of nested dicts, lists, plain values and tensors.

    A tensor counts by dtype, shape and values in logical order, so that neither the device nor
    the memory format changes its digest.
    """
    sha = hashlib.sha256()
    _feed(sha, content)
    return sha.hexdigest()


def _feed(sha, item) -> None:
    if isinstance(item, torch.Tensor):
        sha.update(f"tensor {item.dtype} {tuple(item.shape)};".encode())
        flat = item.detach().cpu().contiguous().reshape(-1)
        sha.update(flat.view(torch.uint8).numpy())
    elif isinstance(item, dict):
        sha.update(f"dict {len(item)};".encode())
        for name in sorted(item, key=repr):
            sha.update(f"{name!r}:".encode())
            _feed(sha, item[name])
    elif isinstance(item, (list, tuple)):
        sha.update(f"list {len(item)};".encode())
        for part in item:
            _feed(sha, part)
    else:
        sha.update(f"{item!r};".encode())


def finished(model: nn.Module, history: list[float], provenance: dict) -> dict:
    """Return the content of a finished run's checkpoint."""
    return {
        "epoch": len(history),
        "history": history,
        "model": {name: value.cpu() for name, value in model.state_dict().items()},
        "provenance": provenance,
    }


def save(path: Path, run: Run, content: dict) -> None:
    """Write a checkpoint of `run` whole.

    Args:
        path: `final_path` or `resume_path`.
        content: the dictionary's other entries: epoch, history, model, provenance, training.

    Raises:
        OSError: if it cannot be written; what was at `path` is then untouched.
    """
    write_whole(path, packed(run, content))


def create(path: Path, run: Run, content: dict) -> bool:
    """Do as `save` unless there is a file already; return whether it was written.

    Of any number of processes that have trained one run, the first to be done keeps its weights.
    """
    return write_new(path, packed(run, content))


def packed(run: Run, content: dict) -> memoryview:
    """Return the bytes of a checkpoint's file."""
    body = {"format": FORMAT, "run_id": run.run_id, "identity": run.identity, **content}
    body["digest"] = content_digest(body)
    buffer = io.BytesIO()
    torch.save(body, buffer)
    return buffer.getbuffer()


def load(path: Path, run: Run | None = None) -> dict:
    """Read a checkpoint onto the CPU and verify it, and that it is of `run` where one is given.

    Raises:
        FileNotFoundError: if there is no such file.
        Damaged: if it is truncated or changed, or holds another run than its name says.
        Foreign: if it is a whole file of something else or of another format version, or no file.
        MemoryError: if there is too little memory; it says nothing of the file.
    """
    data = read_regular(Path(path))
    try:
        check_archive(data, str(path))
        # weights_only: a pickle that would run code raises an error instead
        body = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        check_size(body, len(data), str(path))
        stored, version = body.pop("digest"), body["format"]
        intact = content_digest(body) == stored
    except Exception as error:  # torch raises many kinds, of damaged and of foreign files
        if memory.is_lack(error):
            raise MemoryError(f"too little memory to read {path}") from None
        # torch's reader checks the archive's directory more closely than `zipfile` does
        unreadable = "PytorchStreamReader failed" in str(error) and b"run_id" in data
        if unreadable or broken_archive(data):
            raise Damaged(f"{path}: not a whole checkpoint ({type(error).__name__})") from None
        if isinstance(error, (Damaged, Foreign)):
            raise
        raise Foreign(f"{path}: not a checkpoint of this program") from None
    if not intact:
        raise Damaged(f"{path}: does not match its digest")
    if version != FORMAT:
        raise Foreign(f"{path}: checkpoint format {version!r}, this version reads {FORMAT}")
    if run is not None and body.get("identity") != run.identity:
        raise Damaged(f"{path}: not the run that its name says")
    return body


def broken_archive(data: bytes) -> bool:
    """Return whether a file was an archive, as `torch.save` writes it, and is whole no more.

    Every part of an archive carries a checksum, which tells a damaged file of ours from a whole
    one of another program, whatever error either of them causes.
    """
    start, end = b"PK\3\4", b"PK\5\6"  # one of them outlives a damage to the other
    if not start.startswith(data[:4]) and end not in data[-22:]:
        return False
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return archive.testzip() is not None
    except MemoryError:
        raise
    except Exception:  # zipfile, too, raises many kinds
        return True
