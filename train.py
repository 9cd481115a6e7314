"""Train one run: its identity in, a trained model and its history out.

Each random stream has its own seed, derived from the run's identity: initial weights, batch
order, training noise, dropout. A clean and a noisy run of one architecture and seed therefore
start from the same weights and see the same batches. The state after every epoch is complete:
going on from it gives the same weights, bit for bit, as never having stopped.
"""

from machine.process import steady_output  # first: it checks Python's version

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import torch
from torch import Tensor, nn

import data
import models
from config import DEFAULT_REGIMES, PROBE_IMAGES, Recipe, Run
from data import Dataset, batches
from machine import offers, words
from machine.checks import UsageError, check_folder, fail
from methods import METHODS, Method
from methods.account import Account, counted_cost
from noise import is_clean
from store import checkpoints


class Diverged(RuntimeError):
    """The training loss is not finite."""


class Stopped(Exception):
    """The work was asked to stop; what was done is saved."""


def initial_model(run: Run) -> nn.Module:
    """Return the untrained model of `run`, on the CPU; no other random stream is touched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.stream_seed("initial weights"))
        return models.build_for(run.architecture, data.DATASETS[run.recipe.dataset])


def train(
    run: Run,
    dataset: Dataset,
    device: torch.device,
    state: dict | None = None,
    save: Callable[[dict], None] = lambda state: None,
    stop: Callable[[], bool] = lambda: False,
    teacher: nn.Module | None = None,
) -> tuple[nn.Module, list[float]]:
    """Train a run to its last epoch, by the method of its regime.

    With a `budget` the last epoch may be of a part of the images; its loss is the mean over them.

    Args:
        run: what to train.
        dataset: its training images are used as they are (already cut to `train_size`).
        device: where the model and the images live.
        state: where to go on, as given to `save`; None starts from the beginning.
        save: called with the complete state after each epoch, and before stopping.
        stop: asked after each step whether to stop here.
        teacher: the trained model of `teacher_of(run)`, where there is one; None trains it first.

    Returns:
        The trained model, in evaluation mode, and the mean training loss of each epoch.

    Raises:
        Diverged: at the end of an epoch whose loss is not finite.
        Stopped: when `stop` says so, after the state was saved.
    """
    recipe = run.recipe
    if teacher is None and (taught_by := teacher_of(run)):
        teacher, _ = train(taught_by, dataset, device, stop=stop)
    images, labels = dataset.train_images.to(device), dataset.train_labels.to(device)
    epoch_steps = math.ceil(len(images) / recipe.batch_size)
    steps = recipe.epochs * epoch_steps
    if recipe.budget:
        step_cost = cost_of(run, images, labels, teacher)
        steps = max(1, int(recipe.budget * epoch_steps / step_cost))
    model = initial_model(run).to(device)
    order_stream = torch.Generator().manual_seed(run.stream_seed("batch order"))
    noise_stream = torch.Generator(device).manual_seed(run.stream_seed("training noise"))
    torch.manual_seed(run.stream_seed("dropout"))  # the layers' own draws, where there are any
    augment = data.DATASETS[recipe.dataset].augment
    augment_stream = torch.Generator().manual_seed(run.stream_seed("augmentation"))
    method = make_method(run, model, noise_stream, teacher)
    optimizer = method.make_optimizer(len(images)) or torch.optim.AdamW(
        model.parameters(), lr=recipe.peak_lr, weight_decay=recipe.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        optimizer.defaults["lr"],
        total_steps=steps,
        cycle_momentum="betas" in optimizer.defaults,
    )
    account = Account(method)

    history: list[float] = []
    step = 0  # batches done of the epoch under way
    total = torch.zeros((), dtype=torch.float64, device=device)  # their summed loss
    if state is not None:
        history, training = list(state["history"]), state["training"]
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(training["optimizer"])
        schedule.load_state_dict(training["schedule"])
        order_stream.set_state(training["order_stream"])
        noise_stream.set_state(training["noise_stream"])
        torch.set_rng_state(training["dropout_stream"])
        if device.type == "cuda":
            torch.cuda.set_rng_state(training["cuda_dropout_stream"], device)
        augment_stream.set_state(training.get("augment_stream", augment_stream.get_state()))
        method.load_state_dict(training.get("method", {}))
        account.load_state_dict(training.get("account", {}))
        step, total = training["step"], training["total"].to(device)

    def snapshot() -> dict:
        """Return everything that the next step depends on."""
        training = {
            "optimizer": optimizer.state_dict(),
            "schedule": schedule.state_dict(),
            "order_stream": order_state,
            "noise_stream": noise_stream.get_state(),
            "dropout_stream": torch.get_rng_state(),
            "step": step,
            "epochs": math.ceil(steps / epoch_steps),  # in all; a budget may buy fewer
            "total": total.clone(),
            "method": method.state_dict(),
            "account": account.state_dict(),
        }
        if augment is not None:
            training["augment_stream"] = augment_stream.get_state()
        if device.type == "cuda":
            training["cuda_dropout_stream"] = torch.cuda.get_rng_state(device)
        return {
            "epoch": len(history),
            "history": list(history),
            "finished": done == steps,
            "realised": account.realised(len(images)),
            "accuracy": accuracy_of(model, images, labels) if step == 0 else None,
            "model": model.state_dict(),
            "training": training,
        }

    model.train()
    done = min(len(history) * epoch_steps, steps)  # steps of the epochs that are done
    while done < steps:
        order_state = order_stream.get_state()  # going on inside this epoch draws its order again
        todo = min(epoch_steps, steps - done)  # a budget may end within an epoch
        for x, y in batches(images, labels, recipe.batch_size, order_stream, skip=step):
            if step == todo:
                break
            x = x if augment is None else augment(x, augment_stream)
            method.progress = (done + step + 1) / steps
            total += train_step(method, optimizer, x, y)
            schedule.step()
            step += 1
            if stop():
                save(snapshot())
                raise Stopped(f"in epoch {len(history) + 1}, after {step} steps of it")
        seen = min(len(images), todo * recipe.batch_size)
        loss = total.item() / seen  # no wait for the device within an epoch
        if not math.isfinite(loss):
            raise Diverged(f"the training loss is {loss} in epoch {len(history) + 1}")
        history.append(loss)
        account.close_epoch()
        done, step, total = done + todo, 0, torch.zeros_like(total)
        order_state = order_stream.get_state()
        if done == steps:
            last = batches(images, labels, recipe.batch_size)
            method.finish(x if augment is None else augment(x, augment_stream) for x, _ in last)
        save(snapshot())
    method.close()
    account.close()
    return model.eval(), history


@torch.no_grad()
def accuracy_of(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the accuracy at the clean weights on the first `PROBE_IMAGES` training images, of
    images (N, [C,] H, W), labels (N,): how far a model is, whatever its loss is made of."""
    model.eval()
    x, y = next(batches(images, labels, PROBE_IMAGES))
    logits = model.forward(x)  # (B, C, H, W) -> (B, classes); hooks count what training costs
    right = (logits.argmax(1) == y).float().mean().item()
    model.train()
    return right


def make_method(
    run: Run, model: nn.Module, stream: torch.Generator, teacher: nn.Module | None = None
) -> Method:
    """Return the training method of a run, for its model and with its own random stream."""
    named = dict(run.method)
    kind = METHODS[named.pop("name")]
    alpha = 0.0 if "strength" in named else run.alpha_train  # or it is a parameter
    method = kind(model, alpha, stream, models.patterns(run.architecture), **named)
    method.teacher = teacher
    return method


def teacher_of(run: Run) -> Run | None:
    """Return the run whose trained model teaches `run`, the clean one of the same seed and recipe;
    None where its method needs none."""
    return replace(run, regime="clean") if METHODS[run.method["name"]].taught else None


def cost_of(run: Run, images: Tensor, labels: Tensor, teacher: nn.Module | None) -> Fraction:
    """Return the cost of a step of `run` in units of plain training, counted on two images of
    images (N, [C,] H, W), labels (N,), with a model of its own."""
    model, stream = initial_model(run).to(images.device), torch.Generator(images.device)
    method = make_method(run, model, stream, teacher)
    x, y = next(batches(images[:2], labels[:2], 2))
    return counted_cost(method, x, y, len(images))


def train_step(method: Method, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> Tensor:
    """Take one optimiser step on a batch x (B, C, H, W), y (B,); return its summed loss, ()."""
    loss = method.gradients(x, y)  # at noisy weights, say
    if not is_clean(method.model):
        raise RuntimeError("the training method left its noise on the weights")
    optimizer.step()  # at the clean weights, which are back
    optimizer.zero_grad(set_to_none=True)
    method.after_step()
    return loss.detach() * len(y)


def main(data_dir: Path = Path("data"), checkpoint_dir: Path = Path("checkpoints")) -> None:
    """Train an MLP for one epoch in each regime and save the checkpoints: a first try.

    Args:
        data_dir: folder of the dataset files.
        checkpoint_dir: folder of the checkpoints.
    """
    offers.prepare(threads=1)
    device = torch.device("cpu")
    try:
        check_folder("--data-dir", data_dir, read_only=True)
        check_folder("--checkpoint-dir", checkpoint_dir)
        dataset = data.load("mnist", data_dir)
    except UsageError as error:
        fail(error)
    except data.DataError as error:
        fail(UsageError(f"--data-dir: {error}"))
    for regime in DEFAULT_REGIMES:
        run = Run("mlp", regime, seed=0, recipe=Recipe(epochs=1))
        model, history = train(run, dataset, device)
        path = checkpoints.final_path(checkpoint_dir, run)
        facts = offers.provenance(device, threads=1)
        checkpoints.save(path, run, checkpoints.finished(model, history, facts))
        print(f"mlp {regime}: 1 epoch, training loss {history[-1]:.4f}, saved {path}", flush=True)


if __name__ == "__main__":
    steady_output()
    words.run(main)
