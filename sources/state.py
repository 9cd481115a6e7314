"""A file of weights → its state dict, loaded into a model; no code of it is run."""

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from machine.checks import UsageError, shown

NESTED = ("state_dict", "model_state_dict", "model", "net")
"""Entries of a checkpoint under which others keep the state dict."""
WRAPPERS = ("module.", "_orig_mod.")


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the state dict of a file, whatever it is wrapped in; no code of it is run.

    Raises:
        UsageError: if it is none.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UsageError(f"--weights: {shown(path)} is not there") from None
    except Exception as error:  # torch raises many kinds
        reason = "it would run code" if "weights_only" in str(error) else type(error).__name__
        raise UsageError(
            f"--weights: takes a state dict, from torch.save(model.state_dict(), PATH); "
            f"{path.name} is none ({reason})"
        ) from None
    for name in NESTED:
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
    if not (isinstance(found, Mapping) and any(isinstance(v, Tensor) for v in found.values())):
        raise UsageError(f"--weights: takes a state dict; {path.name} holds no tensors by name")
    state, versions = OrderedDict(found), dict(getattr(found, "_metadata", {}))
    for prefix in WRAPPERS * 2:
        if all(key.startswith(prefix) for key in state):
            state = OrderedDict((key.removeprefix(prefix), v) for key, v in state.items())
            inside = prefix[:-1]
            versions = {
                key.removeprefix(inside).removeprefix("."): value
                for key, value in versions.items()
                if key == inside or key.startswith(prefix)
            }
    if versions:
        state._metadata = versions  # modules of several versions look there which one this is
    return state


def load_into(net: nn.Module, state: dict, path: Path, where: str, classes: int, name: str) -> None:
    """Load a state dict; what does not fit is said in a line.

    Raises:
        UsageError: if it is of another model, or of another number of classes than the data.
    """
    mine = net.state_dict()
    lacking, more = sorted(mine.keys() - state.keys()), sorted(state.keys() - mine.keys())
    if lacking or more:
        first = (lacking or more)[0]
        raise UsageError(
            f"--weights: {path.name} is not of {name}: {len(lacking)} of its names are missing, "
            f"{len(more)} are none of it (such as {first})"
        )
    other = [key for key in mine if mine[key].shape != state[key].shape]
    heads = [
        k for k in other if mine[k].shape[1:] == state[k].shape[1:] and classes in mine[k].shape
    ]
    if other and len(heads) == len(other):
        held = state[heads[0]].shape[0]
        raise UsageError(
            f"--weights: {path.name} tells {held} classes apart, {where} has {classes}"
        )
    if other:
        shapes = f"{tuple(state[other[0]].shape)}, not {tuple(mine[other[0]].shape)}"
        raise UsageError(
            f"--weights: {path.name} is not of {name} as it is: {other[0]} is {shapes}"
        )
    net.load_state_dict(state)
