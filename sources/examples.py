"""Test data of any kind, as batches (x, y): kept in memory, named by a digest, counted."""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from machine import offers

IGNORED = -100
"""Labels that are no question, as in `torch.nn.functional.cross_entropy`."""
SHARE = 4  # a quarter of free memory holds batches; more are made anew for each pass


class Unfit(ValueError):
    """Data or a model that cannot be counted; the message says what to write instead."""


class Batches:
    """Batches that can be gone through any number of times.

    Args:
        make: returns the batches, the same ones each time: x a tensor, or a tuple or dict of them
            (the model is called with *x or **x), y int64 class numbers; or x alone.
        size: keep the first this many examples; 0 = all.
    """

    def __init__(self, make: Callable[[], Iterable], size: int = 0):
        self.make, self.size = make, size
        self.kept: list | None = []
        self.examples = 0
        room, sha = offers.free_memory() // SHARE, Digest()
        for batch in self.fresh():
            sha.feed(batch)
            self.examples += length(batch)
            room -= sum(t.numel() * t.element_size() for _, t in leaves(batch))
            if room < 0:
                self.kept = None
            elif self.kept is not None:
                self.kept.append(batch)
        if not self.examples:
            raise Unfit("no batch came")
        self.digest = sha.hexdigest()

    def fresh(self) -> Iterator:
        """Yield the batches as they are made."""
        left = self.size
        for batch in self.make():
            if self.size and length(batch) > left:
                batch = cut(batch, left)
            if self.size and not left:
                return
            left -= length(batch) if self.size else 0
            yield batch

    def on(self, device: torch.device) -> Iterator:
        """Yield the batches on a device; those that are kept are moved there once."""
        if self.kept is not None:
            self.kept = [moved(batch, device) for batch in self.kept]
            yield from self.kept
        else:
            yield from (moved(batch, device) for batch in self.fresh())


class Digest:
    """SHA-256 of batches, whatever their size: part by part, as if they were one."""

    def __init__(self):
        self.parts: dict[str, tuple] = {}

    def feed(self, batch) -> None:
        """Add a batch."""
        for path, tensor in leaves(batch):
            sha, before = self.parts.get(path, (hashlib.sha256(), None))
            kind = f"{tensor.dtype} {tuple(tensor.shape[1:])};"
            if kind != before:
                sha.update(kind.encode())
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            sha.update(flat.view(torch.uint8).numpy())
            self.parts[path] = sha, kind

    def hexdigest(self) -> str:
        """Return the digest of all that was added."""
        words = [f"{path} {sha.hexdigest()}" for path, (sha, _) in sorted(self.parts.items())]
        return hashlib.sha256("\n".join(words).encode()).hexdigest()


def leaves(item, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a batch with their places in it.

    Raises:
        Unfit: if it holds something else.
    """
    if isinstance(item, Tensor):
        yield path, item
    elif isinstance(item, Mapping):
        for name in sorted(item, key=str):
            yield from leaves(item[name], f"{path}/{name}")
    elif isinstance(item, (tuple, list)):
        for n, part in enumerate(item):
            yield from leaves(part, f"{path}/{n}")
    else:
        raise Unfit(f"a batch holds {type(item).__name__} where tensors are taken")


def over(item, change: Callable[[Tensor], Tensor]):
    """Return a batch with each of its tensors changed."""
    if isinstance(item, Tensor):
        return change(item)
    if isinstance(item, Mapping):
        return {name: over(part, change) for name, part in item.items()}
    return type(item)(over(part, change) for part in item) if type(item) in (list, tuple) else item


def cut(batch, size: int):
    """Return the first examples of a batch."""
    return over(batch, lambda t: t[:size])


def moved(batch, device: torch.device):
    """Return a batch on a device."""
    return over(batch, lambda t: t.to(device))


def length(batch) -> int:
    """Return how many examples a batch has: the length of its last tensor, y."""
    tensors = [t for _, t in leaves(batch)]
    if not tensors or not tensors[-1].dim():
        raise Unfit("a batch is empty, or its y is a single number: y takes one per example")
    return len(tensors[-1])


def check_alone(x, batch) -> None:
    """Check that a batch x is not a pair (x, y), such as those that are counted.

    Raises:
        Unfit: if it is.
    """
    if [path for path, _ in leaves(x)] == [path for path, _ in leaves(batch)]:
        raise Unfit("a batch is a pair (x, y), as those of batches(), where x alone is taken")


def call(model: nn.Module, x):
    """Return what a model makes of x: a dict is taken by keyword, a tuple by position."""
    if isinstance(x, Mapping):
        return model(**x)
    return model(*x) if isinstance(x, (tuple, list)) else model(x)


def answer(model: nn.Module, x) -> Tensor:
    """Return a model's logits: of an output with the field `logits` these, of a tuple the first."""
    out = call(model, x)
    out = getattr(out, "logits", out)
    return out[0] if isinstance(out, (tuple, list)) and out else out


def as_rows(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits (N, K) and labels (N,) of a batch: of a sequence each of its tokens counts.

    Takes logits (..., K), or (B, K, ...) as `cross_entropy` does, for labels (...).

    Raises:
        Unfit: if they do not belong together.
    """
    if not isinstance(logits, Tensor) or logits.dim() < 2:
        got = f"of shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else "no tensor"
        raise Unfit(f"the model's output is {got}, where logits (B, classes) are taken")
    if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        raise Unfit(f"y is {y.dtype}, where class numbers (int64) are taken")
    if logits.shape[:-1] == y.shape:
        return logits.reshape(-1, logits.shape[-1]), y.reshape(-1).long()
    if logits.shape[:1] + logits.shape[2:] == y.shape:
        return logits.movedim(1, -1).reshape(-1, logits.shape[1]), y.reshape(-1).long()
    shapes = f"{tuple(logits.shape)} for y of shape {tuple(y.shape)}"
    raise Unfit(f"the model's output has shape {shapes}, where (B, classes) and (B,) are taken")


@torch.inference_mode()
def count(model: nn.Module, batches: Iterable) -> tuple[int, int, float | None]:
    """Count the correct answers of a classifier, as it stands.

    Args:
        model: from x to logits; see `answer` and `as_rows`.
        batches: pairs (x, y), on the model's device. Labels `IGNORED` do not count.

    Returns:
        Correct answers, of how many, and the cross-entropy summed over them (None where it is not
        finite). An example whose logits are not finite is answered wrongly.

    Raises:
        Unfit: if model and batches do not belong together.
    """
    correct = total = loss = 0
    for x, y in batches:
        logits, labels = as_rows(answer(model, x), y)  # (N, K), (N,)
        correct += ((logits.argmax(1) == labels) & logits.isfinite().all(1)).sum()
        total += (labels != IGNORED).sum()
        each = F.cross_entropy(logits.float(), labels, reduction="none", ignore_index=IGNORED)
        loss += each.double().sum()
    loss = float(loss)
    return int(correct), int(total), loss if math.isfinite(loss) else None


@torch.inference_mode()
def classes_of(model: nn.Module, batch) -> int:
    """Return how many classes a model tells apart, from one batch, and check its labels.

    Raises:
        Unfit: if the batch is no pair, or they do not belong together.
    """
    if not (isinstance(batch, (tuple, list)) and len(batch) == 2 and isinstance(batch[1], Tensor)):
        raise Unfit("a batch is no pair (x, y) with a tensor y")
    logits, labels = as_rows(answer(model, batch[0]), batch[1])
    known = labels[labels != IGNORED]
    if len(known) and not 0 <= int(known.min()) <= int(known.max()) < logits.shape[1]:
        span = f"{int(known.min())} to {int(known.max())}"
        raise Unfit(f"y goes from {span}, and the model has {logits.shape[1]} classes")
    return logits.shape[1]
