"""What the machine offers to a task of Slurm."""

import os

import pytest
import torch

import machine

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def big_machine(monkeypatch):
    """Sixteen cores and 100 GiB, outside Slurm."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
    monkeypatch.setattr(machine.Path, "read_text", lambda path: "MemAvailable: 104857600 kB")
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)


def test_outside_slurm_all_of_it():
    assert machine.cores() == 16
    assert machine.free_memory() == 100 * 2**30
    assert machine.default_workers(CPU, 1, 99) == 16
    assert machine.default_workers(CPU, 4, 99) == 4


@pytest.mark.parametrize(
    ("told", "cores"), [("1", 1), ("4", 4), ("64", 16), ("", 16), ("2(x3)", 16)]
)
def test_a_task_of_slurm_has_the_cores_that_it_is_told_of(told, cores, monkeypatch):
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", told)
    assert machine.cores() == cores
    assert machine.default_workers(CPU, 1, 99) == cores


def test_a_task_of_slurm_has_the_memory_that_it_is_told_of(monkeypatch):
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "6144")  # MiB
    assert machine.free_memory() == 6 * 2**30
    assert machine.default_workers(CPU, 1, 99) == 2
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "4")
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "3072")
    assert machine.default_workers(CPU, 1, 99) == 4
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "999999")
    assert machine.free_memory() == 100 * 2**30
