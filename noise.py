"""Gaussian noise on the weights of any PyTorch model, relative to each tensor's spread.

    with weight_noise(model, alpha=0.1, generator=generator):
        loss_fn(model(x), y).backward()  # forward and backward at W + ε
    optimizer.step()  # at W, which is back bit for bit

**α** is dimensionless. A weight tensor W becomes W + ε with ε = α·s·z: z is unit Gaussian noise,
independent per element, and s the standard deviation of the clean W over the whole tensor
(population form). So `std(ε) = α·std(W)`, whatever the scale of W.

**Noisy** are the matrices and kernels that multiply activations: of `Linear`, `Bilinear`, every
convolution, recurrent layers and cells, and attention's projections. **Clean** are biases,
parameters of normalisation layers, embeddings and PReLU slopes. A reparametrised weight is
perturbed as it is stored, before its parametrisation: `parametrizations.*.original`, `weight_orig`
(spectral norm, pruning), and weight norm's direction `v`; weight norm's magnitude `g` is clean,
because it is a scale per channel, as in a normalisation layer.

This file imports nothing but PyTorch and NumPy: copy it into any project.
"""

import argparse
import hashlib
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import torch
from torch import Tensor, nn

_LAYERS = (nn.Linear, nn.Bilinear, nn.modules.conv._ConvNd)
_RECURRENT = (nn.RNNBase, nn.RNNCellBase)
_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
_USES = (  # of a parameter, by its module's class and its own name
    (_LAYERS, "weight", "noisy"),
    (_RECURRENT, "weight_*", "noisy"),
    (nn.MultiheadAttention, "*_proj_weight", "noisy"),
    ((*_LAYERS, *_RECURRENT, nn.MultiheadAttention), "*bias*", "clean"),
    ((*_NORMS, nn.Embedding, nn.EmbeddingBag, nn.PReLU), "weight", "clean"),
    (_NORMS, "bias", "clean"),
)
_TORCHVISION_CLEAN = (  # raw parameters of its classifiers
    *("class_token", "pos_embedding", "relative_position_bias_table"),
    *("logit_scale", "layer_scale"),
)
_DISORDERED = (
    "weight_noise contexts on one model ended in another order than the last one first: the clean "
    "weights are back since the first of them ended, and what was computed later lacks this noise"
)
_ALIGN = 64  # elements: each tensor in a buffer starts where vector units and tensor cores like it


Apply = Callable[[Tensor, Tensor, float], Tensor]
"""Another noise than the Gaussian: from clean weight, its z and strength to the noisy weight. What
it writes into the weight is lost; z it leaves as it is."""


class ParameterError(ValueError):
    """A parameter that is neither known to be noisy nor clean, or is declared wrongly."""

    def __init__(self, message: str, unknown: Iterable[str] = ()):
        super().__init__(message)
        self.unknown = list(unknown)
        """The names of the parameters to declare."""


def noisy_parameters(
    model: nn.Module, noisy: Iterable[str] = (), clean: Iterable[str] = ()
) -> dict[str, nn.Parameter]:
    """The parameters of `model` that carry noise, by their names in `model.named_parameters()`.

    Every parameter is noisy or clean by what its owning module is (see the top of this file). The
    raw parameters of torchvision's classifiers (class tokens, position embeddings and tables,
    layer and logit scales) are known to be clean. Patterns (`fnmatch`, on full names) declare any
    other, and overrule: `clean=["head.weight"]`, `noisy=["*.lora_?"]`. A parameter that is shared
    appears once, and is noisy if any of its uses is.

    Raises:
        ParameterError: a parameter of unknown use, one matched by both a noisy and a clean
            pattern, a pattern that matches nothing, an uninitialised (lazy) parameter, or a noisy
            one that does not hold real floating-point numbers.
    """
    names: dict[nn.Parameter, list[str]] = {}
    uses: dict[nn.Parameter, set[str]] = {}
    modules = dict(model.named_modules())
    for prefix, module in modules.items():
        for attribute, parameter in module._parameters.items():
            if parameter is None:
                continue
            names.setdefault(parameter, []).append(f"{prefix}.{attribute}".lstrip("."))
            uses.setdefault(parameter, set()).add(_use(modules, prefix, attribute))
    declared_noisy, declared_clean = _matches(names, noisy), _matches(names, clean)

    found, unknown = {}, []
    for parameter, (name, *_) in names.items():
        if parameter in declared_noisy and parameter in declared_clean:
            raise ParameterError(f"{name!r} matches both a noisy and a clean pattern")
        if nn.parameter.is_lazy(parameter):
            raise ParameterError(f"{name!r} has no values yet: run one batch through the model")
        if parameter in declared_clean:
            continue
        if parameter in declared_noisy or "noisy" in uses[parameter]:
            if not parameter.is_floating_point():
                raise ParameterError(f"{name!r} is {parameter.dtype}: noise is for real floats")
            found[name] = parameter
        elif "unknown" in uses[parameter]:
            unknown.append(name)
    if unknown:
        raise ParameterError(
            f"is noise meant for {', '.join(map(repr, unknown))}? These are raw parameters of "
            "unknown use: declare each by a name pattern, "
            f"noisy={unknown!r} or clean={unknown!r}",
            unknown,
        )
    return found


def _matches(names: dict[nn.Parameter, list[str]], patterns: Iterable[str]) -> set[nn.Parameter]:
    """The parameters of which a name matches a pattern; a pattern without any is an error."""
    matched = set()
    for pattern in _tuple(patterns):
        hits = {p for p, known in names.items() if any(fnmatchcase(n, pattern) for n in known)}
        if not hits:
            raise ParameterError(f"pattern {pattern!r} matches no parameter of the model")
        matched |= hits
    return matched


def _tuple(patterns: Iterable[str]) -> tuple[str, ...]:
    return (patterns,) if isinstance(patterns, str) else tuple(patterns)


def _use(modules: dict[str, nn.Module], prefix: str, attribute: str) -> str:
    """What the parameter `prefix.attribute` is to its module: "noisy", "clean" or "unknown"."""
    owner = modules[prefix]
    if isinstance(owner, nn.utils.parametrize.ParametrizationList):
        path, _, parametrised = f".{prefix}".rpartition(".parametrizations.")
        weight_norm = type(owner[0]).__name__ == "_WeightNorm"
        if weight_norm and attribute == "original0":  # the magnitudes g
            return "clean"
        if attribute != ("original1" if weight_norm else "original"):
            return "unknown"
        owner, attribute = modules.get(path.lstrip(".")), parametrised
    elif attribute.endswith("_g") and f"{attribute[:-2]}_v" in owner._parameters:
        return "clean"
    elif attribute.endswith("_v") and f"{attribute[:-2]}_g" in owner._parameters:
        attribute = attribute.removesuffix("_v")
    attribute = attribute.removesuffix("_orig")

    for classes, pattern, use in _USES:
        if isinstance(owner, classes) and fnmatchcase(attribute, pattern):
            return use
    from_torchvision = any(c.__module__.startswith("torchvision.") for c in type(owner).__mro__)
    return "clean" if from_torchvision and attribute in _TORCHVISION_CLEAN else "unknown"


def relative_std(w: Tensor) -> Tensor:
    """The scale s of `w`: its population standard deviation, 0-d, on its device, at least float32.

    PyTorch computes it by Welford's method: nothing cancels at a large mean, and a constant tensor
    gives 0 within rounding. (The norm of w - mean is faster and 1% too small at 1e8 elements.)
    """
    w = w.to(torch.promote_types(w.dtype, torch.float32))
    return w.std(correction=0) if w.numel() else w.new_zeros(())


def unit_noise(
    parameters: Mapping[str, Tensor], noise_seed: int, run_seed: int, draw: int
) -> dict[str, Tensor]:
    """Evaluation draw `draw`: for each name, unit noise of that parameter's shape (float32, CPU).

    Tensor `name` depends on (`noise_seed`, `run_seed`, `draw`, `name`) and its size alone, not on
    the other tensors, their order, the device, the memory format or earlier draws. The key of
    NumPy's Philox is the first 128 bits (little-endian) of the SHA-256 of the UTF-8 text
    "noise_seed/run_seed/draw/name"; its `standard_normal` fills the tensor in C order, in float64,
    rounded to float32: in float64 the last bits, in which mathematical libraries differ between
    machines, do not survive the rounding.
    """
    draws = {}
    for name, parameter in parameters.items():
        bits = philox(f"{int(noise_seed)}/{int(run_seed)}/{int(draw)}/{name}")
        normals = np.random.Generator(bits).standard_normal(parameter.shape)
        draws[name] = torch.from_numpy(np.asarray(normals, dtype=np.float32))
    return draws


def philox(text: str) -> np.random.Philox:
    """NumPy's Philox, a random stream of its own for each text, the same on every machine."""
    key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")
    return np.random.Philox(key=key)


@contextmanager
def weight_noise(
    model: nn.Module,
    alpha: float,
    generator: torch.Generator | None = None,
    *,
    unit: Mapping[str, Tensor] | None = None,
    sign: int = 1,
    apply: Apply | None = None,
    noisy: Iterable[str] = (),
    clean: Iterable[str] = (),
) -> Iterator[None]:
    """Within this context the noisy parameters of `model` hold W + ε; see `WeightNoise`."""
    with WeightNoise(model, noisy, clean)(alpha, generator, unit=unit, sign=sign, apply=apply):
        yield


class WeightNoise:
    """Weight noise for one model, with buffers that are kept from batch to batch.

    `noisy` and `clean` are those of `noisy_parameters`, which is asked again at every use, so the
    model may be moved, cast or given other parameters in between. The cost in memory is one copy
    of the noisy weights (and, for other types than float32, passing float32 noise).

    Raises ParameterError as `noisy_parameters` does, or if it finds none; so does every use.
    """

    def __init__(self, model: nn.Module, noisy: Iterable[str] = (), clean: Iterable[str] = ()):
        self.model = model
        self.patterns = _tuple(noisy), _tuple(clean)
        self._room: _Room | None = None  # None also while in use: a nested context makes its own
        self._noisy()  # raise now, not in the first batch

    def _noisy(self) -> dict[str, nn.Parameter]:
        if found := noisy_parameters(self.model, *self.patterns):
            return found
        names = [name for name, _ in self.model.named_parameters()]
        why = f"all it has are clean: {', '.join(names)}" if names else "it has no parameters"
        raise ParameterError(
            f"nothing in this model carries noise: {why} (weights that are kept as buffers, as "
            "quantised ones are, carry none)"
        )

    @contextmanager
    def __call__(
        self,
        alpha: float,
        generator: torch.Generator | None = None,
        *,
        unit: Mapping[str, Tensor] | None = None,
        sign: int = 1,
        apply: Apply | None = None,
    ) -> Iterator[None]:
        """Within this context the model's own noisy parameters hold W + sign·α·s·z.

        z is drawn from `generator` (default: PyTorch's global one), float32, one call per device
        and dtype, in the order of `noisy_parameters` and of memory. Or it is `unit`, as from
        `unit_noise`: tensors by parameter name; parameters without a name there stay clean.
        `sign=-1` mirrors a draw. α = 0 changes nothing and takes nothing from the generator.

        Or they hold apply(W, sign·z, α), with z from `unit` in whatever shape `apply` takes.

        On leaving, also by an exception, and whatever the order in which contexts end, the clean
        tensors are put back: when none is left, the weights are the clean ones, bit for bit
        (`is_clean`). Buffers, such as running statistics, are the model's own. Run the backward
        pass inside the context and the optimizer outside. What is read inside, as by
        `state_dict()`, is memory that the next context writes to: clone what is to be kept. Nested
        contexts add their noises, each relative to the clean W.

        Raises:
            ValueError: α is negative, infinite or NaN; `sign` is not ±1; `unit` has a wrong name or
                shape, or comes with a generator. `ParameterError` as when this was made.
            RuntimeError: another thread has the model in such a context. On leaving: a noisy
                parameter was changed inside, by an optimizer for example, and the change is lost;
                or contexts that share a parameter did not end in reverse order (an exception on
                its way has a note of it instead): since the first of them ended, the clean weights
                are back. And autograd's own, for a backward pass of a graph from other weights.
        """
        if not (math.isfinite(alpha) and alpha >= 0):
            raise ValueError(f"alpha must be a finite number >= 0, not {alpha!r}")
        if sign not in (1, -1):
            raise ValueError(f"sign must be 1 or -1, not {sign!r}")
        if unit is not None and generator is not None:
            raise ValueError("give a generator or unit noise, not both")
        if apply is not None and unit is None:
            raise ValueError("apply takes unit noise")
        parameters = self._noisy()
        _check_unit(unit or {}, parameters, shapes=apply is None)
        context, room = _Context(parameters), None
        try:
            context.hold()
            if alpha > 0:
                room, self._room = self._room, None
                if room is None or room.layout != _layout(parameters):
                    room = _Room(parameters)
                noise = room.draw(generator) if unit is None else unit
                _perturb(parameters, noise, sign, alpha, room.values, apply)
                context.put({name: room.values[name] for name in noise})
            try:
                yield
                context.check()
            except BaseException as error:
                if context.disordered():
                    if isinstance(error, GeneratorExit):  # a note on it would reach nobody
                        raise RuntimeError(_DISORDERED) from None
                    error.add_note(_DISORDERED)
                raise
            if context.disordered():
                raise RuntimeError(_DISORDERED)
        finally:
            try:
                context.leave()
            finally:  # an interrupt may have cut that short
                context.leave()
            if alpha > 0:
                self._room = room


@torch.inference_mode()
def _perturb(
    parameters: Mapping[str, nn.Parameter],
    noise: Mapping[str, Tensor],
    sign: int,
    alpha: float,
    room: Mapping[str, Tensor],
    apply: Apply | None,
) -> None:
    """Write the noisy value to its room for each z in `noise`."""
    for name, z in noise.items():
        p = parameters[name]
        if apply is not None:
            # It is given a copy: what it changes in place is not the clean weight.
            z = z.to(p.device) if sign == 1 else -z.to(p.device)
            room[name].copy_(apply(room[name].copy_(p.data), z, alpha))
            continue
        s = relative_std(p._held.clean)
        # One pass over memory; the sum is rounded to W's dtype once. z may lie in the room itself.
        torch.addcmul(p.data, z.to(p.device), s, value=sign * alpha, out=room[name])


class _Room:
    """Where noisy values go: a flat tensor per device and dtype, in it a view per parameter.

    Fresh tensors instead, batch after batch, would cost more in page faults than the noise itself.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter]):
        self.layout = _layout(parameters)
        self.values: dict[str, Tensor] = {}
        self._flats: list[tuple[Tensor, list[str]]] = []
        groups: dict[tuple, list[str]] = {}
        for name, p in parameters.items():
            groups.setdefault((p.device, p.dtype, p.is_inference()), []).append(name)
        for (device, dtype, inference), names in groups.items():
            sizes = [-(-parameters[n].numel() // _ALIGN) * _ALIGN for n in names]
            with torch.inference_mode(inference):  # the parameters' own, not the caller's
                flat = torch.empty(sum(sizes), device=device, dtype=dtype)
                for name, part in zip(names, flat.split(sizes), strict=True):
                    like = torch.empty_like(parameters[name], device="meta")  # its strides, dense
                    self.values[name] = part.as_strided(like.shape, like.stride())
            self._flats.append((flat, names))

    @torch.inference_mode()
    def draw(self, generator: torch.Generator | None) -> dict[str, Tensor]:
        """Unit noise in float32 for every parameter: in the room itself where that is float32."""
        noise = {}
        for flat, names in self._flats:
            z = flat if flat.dtype == torch.float32 else torch.empty_like(flat, dtype=torch.float32)
            if generator is None or generator.device.type == z.device.type:
                z.normal_(generator=generator)
            else:  # a generator on the CPU for weights on a GPU
                z.copy_(torch.empty(z.shape, device=generator.device).normal_(generator=generator))
            for name in names:
                view = self.values[name]
                noise[name] = z.as_strided(view.shape, view.stride(), view.storage_offset())
        return noise


def _layout(parameters: Mapping[str, Tensor]) -> list[tuple]:
    return [
        (n, p.shape, p.stride(), p.dtype, p.device, p.is_inference()) for n, p in parameters.items()
    ]


def _check_unit(unit: Mapping[str, Tensor], parameters: Mapping[str, Tensor], shapes: bool) -> None:
    for name, z in unit.items():
        if name not in parameters:
            raise ValueError(f"unit noise for {name!r}, which is not a noisy parameter")
        if shapes and z.shape != parameters[name].shape:
            both = f"{tuple(z.shape)}, not {tuple(parameters[name].shape)}"
            raise ValueError(f"unit noise for {name!r} has shape {both}")


@dataclass
class _Held:
    """What is known of a parameter while contexts hold it: its attribute `_held`, so that it ends
    with the parameter, and no other one can inherit it."""

    thread: int
    clean: Tensor  # its value outside all contexts
    contexts: list[object]  # a token of each that holds it, the last one last
    version: int = 0  # autograd's count of changes in place, as the contexts left it

    def __reduce__(self):
        return _nobody, ()  # a model that is saved inside a context is not held where it is loaded


def _nobody() -> None:
    return None


def _held(p: nn.Parameter) -> _Held | None:
    return p.__dict__.get("_held")


def is_clean(model: nn.Module) -> bool:
    """Return whether no `weight_noise` context holds a parameter of `model`: its weights are its
    own, bit for bit. Costs less than a microsecond a parameter."""
    return all(_held(p) is None for p in model.parameters())


_lock = threading.RLock()  # the collector may end a context within another's


class _Context:
    """One context's hold on parameters. Whatever ends it and how often, it leaves them clean: in
    order, as they were before it; out of order, with the clean weights, and so for all of them."""

    def __init__(self, parameters: Mapping[str, nn.Parameter]):
        self.parameters = parameters
        self.token = object()  # not this context itself: it ends when nobody refers to it
        self.before: dict[str, Tensor] = {}
        self.values: Mapping[str, Tensor] = {}

    def hold(self) -> None:
        """Claim the parameters; RuntimeError where another thread has one of them."""
        self.__class__, thread = _Holding, threading.get_ident()
        with _lock:
            if any(h.thread != thread for h in map(_held, self.parameters.values()) if h):
                raise RuntimeError("another thread has this model in a weight_noise context")
            for p in self.parameters.values():
                if held := _held(p):
                    held.contexts.append(self.token)
                else:
                    p._held = _Held(thread, p.data, [self.token])

    def put(self, values: Mapping[str, Tensor]) -> None:
        """Let parameters hold their noisy values."""
        self.before = {name: self.parameters[name].data for name in values}
        self.values = values
        for name, value in values.items():
            _install(self.parameters[name], value)
        _settle(self.parameters.values())

    def check(self) -> None:
        """RuntimeError if a noisy value was changed."""
        mine = ((n, self.parameters[n], v) for n, v in self.values.items())
        changed = [
            n
            for n, p, v in mine
            if (held := _held(p)) and held.contexts[-1] is self.token and _was_changed(p, v)
        ]
        if changed:
            raise RuntimeError(
                f"{', '.join(changed)} changed within weight_noise, and the change is lost: the "
                "clean weights are back. Step the optimizer, load or cast weights outside the "
                "context"
            )

    def disordered(self) -> bool:
        """Whether this context is not the last one on each of its parameters."""
        holds = map(_held, self.parameters.values())
        return any(held is None or held.contexts[-1] is not self.token for held in holds)

    def leave(self) -> None:
        """Put back the weights; a second time, it does what an interrupt kept it from."""
        if type(self) is _Context:
            return
        with _lock:
            exchanged = self.before or self.disordered()
            for name, p in self.parameters.items():
                held = _held(p)
                if held is None or self.token not in held.contexts:
                    continue  # an earlier context ended first, and put all back
                if held.contexts[-1] is self.token and len(held.contexts) > 1:
                    if name in self.before:
                        _install(p, self.before[name])
                    held.contexts.pop()
                else:
                    if name in self.before or len(held.contexts) > 1:
                        _install(p, held.clean)
                    del p._held
            if exchanged:
                _settle(self.parameters.values())
        self.__class__ = _Context


class _Holding(_Context):
    """It has something to leave. Others have no `__del__`, where Python swallows interrupts."""

    __del__ = _Context.leave


def _install(p: nn.Parameter, value: Tensor) -> None:
    p.data = value
    if not p._held.clean.is_inference():  # inference tensors have no version, and no graph
        # A graph made with the weights that were here until now must not be differentiated.
        torch.autograd.graph.increment_version(p)


def _settle(parameters: Iterable[nn.Parameter]) -> None:
    """After weights were exchanged, drop what PyTorch made of the others (half-precision copies,
    parametrised tensors), and note what the contexts themselves have changed, of all at once:
    parameters that are views of one flat tensor share one count."""
    torch.clear_autocast_cache()
    getattr(nn.utils.parametrize, "_cache", {}).clear()
    for p in parameters:
        held = _held(p)
        if held is not None and not held.clean.is_inference():
            held.version = p._version


def _was_changed(p: nn.Parameter, value: Tensor) -> bool:
    if p.data_ptr() == value.data_ptr():
        return not p._held.clean.is_inference() and p._version != p._held.version
    # Moved: by cuDNN's flatten_parameters(), which keeps the values, or by an assignment to .data
    kind = (p.shape, p.dtype, p.device) == (value.shape, value.dtype, value.device)
    return not (kind and torch.equal(p.data, value))


def _check() -> bool:
    """Put noise on a small model and take it off; print what was measured."""
    model = nn.Sequential(nn.Conv2d(3, 64, 3), nn.BatchNorm2d(64), nn.Flatten(), nn.Linear(256, 99))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    noisy = noisy_parameters(model)
    share = sum(p.numel() for p in noisy.values()) / sum(p.numel() for p in model.parameters())
    print(f"noisy: {', '.join(noisy)} ({share:.1%} of the parameters)")
    with weight_noise(model, 0.1, torch.Generator().manual_seed(0)):
        noise = {name: (p - before[name]).detach() for name, p in model.named_parameters()}
    ok = True
    for name in noisy:
        ratio = (noise.pop(name).std() / before[name].std()).item()
        print(f"{name}: std(noise) / std(W) = {ratio:.4f} at alpha = 0.1")
        ok &= abs(ratio - 0.1) < 0.01
    ok &= list(noise) == ["0.bias", "1.weight", "1.bias", "3.bias"]  # the clean ones
    ok &= not any(e.any() for e in noise.values())
    return ok and all(torch.equal(p, before[name]) for name, p in model.named_parameters())


if __name__ == "__main__":
    argparse.ArgumentParser(description=_check.__doc__).parse_args()
    passed = _check()
    print(f"noise.py: apply/remove {'ok' if passed else 'FAILED'}")
    raise SystemExit(not passed)
