"""What a checkpoint's file asks for, told before it is given: no small file takes much memory.

`torch.save` writes an archive of stored (not compressed) parts, among them one pickle. What is
refused here never comes from it: parts that are larger than the file, and a pickle that asks for
something else than plain values and dense tensors.
"""

import io
import pickletools
import zipfile

import torch

from store.files import Damaged, Foreign

CALLS = {
    "collections OrderedDict",
    "_codecs encode",  # bytes
    "torch Size",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
}
"""What a state dict's pickle calls beside the types of storages."""
AGAIN = 100
"""How many times the size of its file the content may have: weights that are shared count for each
of their names."""


def check_archive(data: bytes, name: str) -> None:
    """Check that a file, if it is an archive, asks for no more than it holds.

    Raises:
        Foreign: if it does, or is no archive at all.
        Damaged, zipfile.BadZipFile, others: if it is not whole.
    """
    if not data.startswith(b"PK\3\4"):
        raise Foreign(f"{name}: not a checkpoint of this program")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = archive.infolist()
        stored = [part for part in parts if part.compress_type == zipfile.ZIP_STORED]
        if any(part.file_size != part.compress_size for part in stored):
            raise Damaged(f"{name}: not a whole checkpoint (its directory)")
        if sum(part.file_size for part in parts) > len(data):
            raise Foreign(f"{name}: unpacks to more than a checkpoint of this program does")
        for part in parts:
            if part.filename.endswith("data.pkl"):
                check_calls(archive.read(part), name)


def check_calls(pickle: bytes, name: str) -> None:
    """Check that a pickle calls nothing but what makes tensors and dictionaries.

    Raises:
        Foreign: if it does.
    """
    for opcode, argument, _ in pickletools.genops(pickle):
        if opcode.name == "GLOBAL":
            plain = argument in CALLS or (
                argument.startswith("torch ") and argument.endswith("Storage")
            )
        else:
            plain = opcode.name not in ("STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX")
        if not plain:
            raise Foreign(f"{name}: not a checkpoint of this program")


def check_size(content, most: int, name: str) -> None:
    """Check that nested dicts, lists, plain values and tensors have at most `AGAIN * most` bytes.

    Tensors may be views that repeat their elements, and lists may hold one list many times: what
    is made of them is counted, before it is made.

    Raises:
        Foreign: if they have more.
    """
    left = AGAIN * most
    waiting = [content]
    while waiting:
        item = waiting.pop()
        left -= 1
        if isinstance(item, torch.Tensor):
            left -= item.numel() * item.element_size()
        elif isinstance(item, dict):
            waiting += [*item.keys(), *item.values()]
        elif isinstance(item, (list, tuple)):
            waiting += item
        if left < 0 or len(waiting) > AGAIN * most:
            raise Foreign(f"{name}: holds more than a checkpoint of this program does")
