"""The trained model of a run that has a teacher: what the record is told of it."""

import torch

import data
from config import Recipe, Run
from runner.trained import trained_model
from store import checkpoints
from store.folders import Folders

CPU = torch.device("cpu")


def test_what_the_teacher_cost_stands_beside_the_cost(tmp_path):
    folders = Folders(tmp_path, tmp_path / "ckpt", tmp_path / "results")
    folders.checkpoints.mkdir()
    stream = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (28, 28, 28), generator=stream).to(torch.uint8)
    labels = torch.randint(0, 10, (28,), generator=stream)
    images = data.Dataset(pixels[:20], labels[:20], pixels[20:], labels[20:], 10)
    recipe = Recipe(epochs=1, batch_size=10, train_size=20, budget=2)
    taught = Run("mlp", "distillation", 0, recipe)
    _, content = trained_model(taught, images, folders, CPU, {})
    teacher = checkpoints.final_path(folders.checkpoints, Run("mlp", "clean", 0, recipe))
    cost = checkpoints.load(teacher, Run("mlp", "clean", 0, recipe))["realised"]["cost"]
    assert content["realised"]["teacher"] == cost == 2.0
    _, content = trained_model(Run("mlp", "noisy", 0, recipe), images, folders, CPU, {})
    assert "teacher" not in content["realised"]
