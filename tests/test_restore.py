"""The restore contract of noise.py: whatever ends contexts, and in whatever order, when none is
left the weights are the clean ones, bit for bit."""

import asyncio
import copy
import gc
import io
import sys
import threading

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from torch import nn

import noise
from noise import WeightNoise, is_clean, weight_noise

# what is abandoned out of order says so as well, where nobody can catch it
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))


def bits(model: nn.Module) -> dict[str, bytes]:
    return {n: p.detach().numpy().tobytes() for n, p in model.named_parameters()}


def places(model: nn.Module) -> list[int]:
    return [p.data_ptr() for p in model.parameters()]


# ---- Any order -------------------------------------------------------------------------------


class Contexts(RuleBasedStateMachine):
    """Contexts on three models, two of which share a layer, entered and ended in any order."""

    def __init__(self):
        super().__init__()
        one, two = small(), small()
        self.models = [one, two, nn.Sequential(one[2], nn.Linear(3, 4))]
        self.noises = [WeightNoise(m) for m in self.models]
        self.before = [bits(m) for m in self.models]
        self.places = [places(m) for m in self.models]
        self.open = []  # (model, context), in the order of entering
        self.orderly = True

    def shares(self, a: int, b: int) -> bool:
        return a == b or {a, b} == {0, 2}

    @rule(which=st.integers(0, 2), alpha=st.sampled_from([0.0, 0.1, 1.0]), kept=st.booleans())
    def enter(self, which, alpha, kept):
        made = self.noises[which] if kept else WeightNoise(self.models[which])
        context = made(alpha)
        context.__enter__()
        self.open.append((which, context))

    @precondition(lambda self: self.open)
    @rule(data=st.data(), failing=st.booleans())
    def leave(self, data, failing):
        index = data.draw(st.integers(0, len(self.open) - 1))
        which, context = self.open.pop(index)
        if any(self.shares(which, other) for other, _ in self.open[index:]):
            self.orderly = False
        error = KeyError() if failing else None
        try:
            assert not context.__exit__(type(error) if failing else None, error, None)
            assert not (self.orderly and hasattr(error, "__notes__"))
        except RuntimeError as said:
            assert "another order" in str(said) and not self.orderly and not failing

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def abandon(self, data):
        index = data.draw(st.integers(0, len(self.open) - 1))
        which, context = self.open.pop(index)
        if any(self.shares(which, other) for other, _ in self.open[index:]):
            self.orderly = False
        del context

    @invariant()
    def what_nobody_holds_is_clean(self):
        for which, model in enumerate(self.models):
            if not any(self.shares(which, other) for other, _ in self.open):
                assert is_clean(model)
                assert bits(model) == self.before[which]
                assert places(model) == self.places[which]
        if not self.open:
            self.orderly = True

    def teardown(self):
        while self.open:
            self.open.pop()
        self.what_nobody_holds_is_clean()


TestContexts = Contexts.TestCase
TestContexts.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def test_tasks_that_cross_are_told_and_leave_the_weights_clean():
    model = small()
    before = bits(model)

    async def use(first: float, second: float):
        await asyncio.sleep(first)
        with weight_noise(model, 1.0):
            await asyncio.sleep(second)

    async def both():
        return await asyncio.gather(use(0, 0.05), use(0.02, 0.08), return_exceptions=True)

    said = asyncio.run(both())
    assert all(isinstance(e, RuntimeError) and "another order" in str(e) for e in said)
    assert bits(model) == before and is_clean(model)


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), StopIteration()])
def test_an_exception_that_ends_contexts_out_of_order_has_a_note_of_it(error):
    model = small()
    before, first, second = bits(model), weight_noise(model, 1.0), weight_noise(model, 1.0)
    first.__enter__()
    second.__enter__()
    assert not first.__exit__(type(error), error, None)
    assert bits(model) == before and is_clean(model)
    (note,) = error.__notes__
    with pytest.raises(RuntimeError, match="another order") as said:
        second.__exit__(None, None, None)
    assert str(said.value) == note


def test_an_exception_that_ends_contexts_in_order_has_no_note():
    model = small()
    with pytest.raises(ValueError) as said, weight_noise(model, 1.0), weight_noise(model, 0.0):
        raise ValueError
    assert not hasattr(said.value, "__notes__")
    with weight_noise(model, 1.0), weight_noise(model, 1.0):
        refused = []

        def enter():
            with pytest.raises(RuntimeError, match="another thread") as said:
                weight_noise(model, 1.0).__enter__()
            refused.append(said.value)

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
    assert not hasattr(refused[0], "__notes__")


def test_without_noise_a_context_that_ends_out_of_order_leaves_no_noisy_tensor_cached():
    model = nn.utils.parametrizations.weight_norm(nn.Linear(5, 4))
    clean, first, second = model.weight, weight_noise(model, 0.0), weight_noise(model, 1.0)
    with nn.utils.parametrize.cached():
        first.__enter__()
        second.__enter__()
        assert not torch.equal(model.weight, clean)
        with pytest.raises(RuntimeError, match="another order"):
            first.__exit__(None, None, None)
        assert torch.equal(model.weight, clean)
        with pytest.raises(RuntimeError, match="another order"):
            second.__exit__(None, None, None)


def test_generators_closed_in_the_order_of_opening():
    model = small()
    before = bits(model)

    def steps():
        with weight_noise(model, 1.0):
            yield

    first, second = steps(), steps()
    next(first)
    next(second)
    for generator in (first, second):
        with pytest.raises(RuntimeError, match="another order"):
            generator.close()
    assert bits(model) == before and is_clean(model)


def test_a_thread_that_ends_inside_leaves_the_weights_clean():
    model = small()
    before, kept = bits(model), []

    def enter():
        kept.append(WeightNoise(model)(1.0))
        kept[0].__enter__()

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert not is_clean(model)
    kept.clear()
    gc.collect()
    assert bits(model) == before and is_clean(model)


def test_no_later_model_inherits_anything():
    for _ in range(200):
        model = small()
        context = WeightNoise(model)(1.0)
        context.__enter__()
        del model, context
    gc.collect()
    model = small()
    assert is_clean(model)
    before = model[0].weight.detach().clone()
    with weight_noise(model, 0.1, torch.Generator().manual_seed(0)), torch.no_grad():
        spread = (model[0].weight - before).std() / before.std()
    assert 0.05 < spread < 0.2


def test_copies_made_inside_are_held_by_nobody():
    model = small()
    with weight_noise(model, 0.5):
        copied = copy.deepcopy(model)
        file = io.BytesIO()
        torch.save(model, file)
        file.seek(0)
        loaded = torch.load(file, weights_only=False)
        assert is_clean(copied) and is_clean(loaded) and not is_clean(model)
    for other in (copied, loaded):
        before = bits(other)
        with weight_noise(other, 0.5):
            assert bits(other) != before
        assert bits(other) == before


def test_a_noise_that_works_in_place_does_not_reach_the_clean_weights():
    model = small()
    before, unit = bits(model), noise.unit_noise(noise.noisy_parameters(model), 0, 0, 0)
    half = model[0].weight.detach() / 2
    with weight_noise(model, 1.0, unit=unit, apply=lambda w, z, s: w.mul_(0.5)):
        assert torch.equal(model[0].weight, half)
    assert bits(model) == before and is_clean(model)


# ---- An interrupt at any moment --------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_a_context_that_was_left_has_no_finaliser(alpha, monkeypatch):
    """Python swallows an interrupt that arrives in `__del__`."""
    made, init = [], noise._Context.__init__

    def note(self, *args):
        made.append(self)
        assert not hasattr(self, "__del__")  # while there is nothing to leave
        init(self, *args)

    monkeypatch.setattr(noise._Context, "__init__", note)
    model = small()
    with weight_noise(model, alpha), pytest.raises(KeyError), weight_noise(model, alpha):
        assert len(made) == 2 and all(hasattr(context, "__del__") for context in made)
        raise KeyError
    assert is_clean(model) and not any(hasattr(context, "__del__") for context in made)


INSIDE = {noise.__file__, __import__("contextlib").__file__}


def interrupted_at(n: int, work) -> bool:
    """Run `work` with a KeyboardInterrupt at the n-th bytecode of noise.py and contextlib; tell
    whether there were so many. The exception is handled when this returns."""
    count = 0

    def trace(frame, event, _):
        nonlocal count
        if frame.f_code.co_filename not in INSIDE:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            count += 1
            if count == n:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        work()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)
    return False


@pytest.mark.slow
@pytest.mark.parametrize("nested", [False, True])
def test_one_interrupt_at_every_bytecode_leaves_the_weights_clean(nested, monkeypatch):
    swallowed = []
    monkeypatch.setattr(sys, "unraisablehook", lambda said: swallowed.append(said.exc_type))
    # Between a `with` body and its end, where no signal is handled, an interrupt keeps the lock.
    monkeypatch.setattr(noise, "_lock", threading.RLock())
    model = nn.Linear(2, 2)
    before, where, made = bits(model), places(model), WeightNoise(model)

    def work():
        with made(0.5):
            if nested:
                with weight_noise(model, 0.5):
                    pass

    n = 1
    while interrupted_at(n, work):
        gc.collect(0)
        assert is_clean(model), n
        assert KeyboardInterrupt not in swallowed, n
        assert bits(model) == before and places(model) == where, n
        n += 1
    assert n > 300 and KeyboardInterrupt not in swallowed  # it did go through all of it
    with made(0.5):
        assert bits(model) != before  # and it still works
