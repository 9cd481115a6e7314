"""The job array on a real Slurm of one node, brought up here: whatever Slurm does to the tasks, the
tables are those of an undisturbed local run, byte for byte."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conftest import ROOT

pytestmark = pytest.mark.slow

PLAN = "mlp cnn --seeds 0 1 --epochs 30 --train-size 640 --test-size 200 --batch-size 32"
PLAN = f"{PLAN} --alphas 0 0.1 1 --draws 2 --device cpu --threads 1 --data-dir {ROOT / 'data'}"
PATIENCE = 900.0  # seconds after which something is said to hang
TASKS = 4

CONF = """
ClusterName=test
SlurmctldHost=localhost
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
CredType=cred/none
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmctldPidFile={home}/slurmctld.pid
SlurmdPidFile={home}/slurmd.pid
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool
SlurmctldLogFile={home}/slurmctld.log
SlurmdLogFile={home}/slurmd.log
BatchStartTimeout=120
MessageTimeout=60
MinJobAge=86400
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=localhost CPUs=2 Boards=1 SocketsPerBoard=1 CoresPerSocket=2 RealMemory=6144 State=UNKNOWN
PartitionName=low Nodes=ALL PriorityTier=1
PartitionName=graceful Nodes=ALL PriorityTier=1 GraceTime=20
PartitionName=high Nodes=ALL PriorityTier=2 PreemptMode=OFF
"""


class Cluster:
    """A one-node Slurm, and what this test asks of it."""

    def __init__(self, home: Path):
        for name in ("state", "spool"):
            (home / name).mkdir()
        self.home = home
        python = Path(sys.executable).parent  # the script says `python`
        path = f"{python}{os.pathsep}{os.environ['PATH']}{os.pathsep}/usr/sbin"
        self.env = {**os.environ, "SLURM_CONF": str(home / "slurm.conf"), "PATH": path}
        (home / "slurm.conf").write_text(CONF.format(home=home, ports=free_ports(2)))
        self.daemons: list[subprocess.Popen] = []

    def start(self) -> None:
        """Start the daemons and wait until the node is up; skip the tests where it does not."""
        for words in (["slurmctld", "-D"], ["slurmd", "-D", "-N", "localhost"]):
            log = open(self.home / f"{words[0]}.out", "wb")  # noqa: SIM115
            self.daemons.append(subprocess.Popen(words, env=self.env, stdout=log, stderr=log))
        with contextlib.suppress(AssertionError):
            wait_for(lambda: "idle" in self("sinfo", "-h", "-o", "%T", check=False), 60)
            return
        logs = "".join(f"\n{p.name}: {p.read_text()[-600:]}" for p in self.home.glob("*.log"))
        pytest.skip(f"Slurm's daemons did not come up in 60 s{logs}")

    def stop(self) -> None:
        """Cancel all jobs, and end the daemons."""
        self("scancel", "--user=root", check=False)
        with contextlib.suppress(AssertionError):
            wait_for(lambda: not self("squeue", "-h", check=False), 90)
        for daemon in reversed(self.daemons):
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def __call__(self, *words: str, check: bool = True) -> str:
        """Run one of Slurm's commands; return what it prints."""
        done = subprocess.run(
            words, env=self.env, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE
        )
        assert not check or done.returncode == 0, (words, done.stderr)
        return done.stdout.strip()

    def submit(self, *words: str) -> "Job":
        """Submit a job as a user does."""
        return Job(self, self("sbatch", "--parsable", *words))


class Job:
    """A submitted job, or an array of tasks counted from 1."""

    def __init__(self, cluster: Cluster, number: str):
        self.slurm, self.number = cluster, number

    def facts(self, task: int | None = None) -> dict[str, str]:
        """Return what `scontrol show job` says."""
        name = self.number if task is None else f"{self.number}_{task}"
        words = self.slurm("scontrol", "show", "job", "-o", name).splitlines()[0].split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def state(self, task: int | None = None) -> str:
        return self.facts(task)["JobState"]

    def log(self, task: int) -> str:
        path = self.slurm.home / f"{self.number}_{task}.log"
        return path.read_bytes().decode() if path.exists() else ""

    def wait_training(self, task: int) -> None:
        """Wait until a task has begun (again), and is in the middle of a training."""
        before = self.log(task).count(": epoch ")
        wait_for(lambda: self.log(task).count(": epoch ") > before)
        assert self.state(task) == "RUNNING", self.log(task)

    def wait_requeued(self, task: int) -> None:
        """Wait until a task has ended and waits in the queue."""
        wait_for(lambda: self.state(task) == "PENDING")
        assert int(self.facts(task)["Restarts"]) == 1

    def release(self, task: int) -> None:
        """Spare a requeued task the two minutes that Slurm lets it wait, if they are not over."""
        name = f"JobId={self.number}_{task}"
        self.slurm("scontrol", "update", name, "StartTime=now", check=False)

    def processes(self, task: int) -> list[int]:
        """Return the Python processes of a task."""
        mark = f"SLURM_JOB_ID={self.facts(task)['JobId']}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                ours = mark in (folder / "environ").read_bytes().split(b"\0")
                if ours and b"python" in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
        return found


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("localhost", 0))
        return [each.getsockname()[1] for each in sockets]


def wait_for(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def slurm(tmp_path_factory) -> Iterator[Cluster]:
    """A running one-node Slurm; skipped, with the reason, where there can be none."""
    missing = [name for name in ("slurmctld", "slurmd", "sbatch") if not shutil.which(name)]
    if missing:
        pytest.skip(f"needs {', '.join(missing)} (Debian: slurmctld, slurmd, slurm-client)")
    if os.geteuid() or not Path("/sys/fs/cgroup").is_dir():
        pytest.skip("needs to be root, and /sys/fs/cgroup")
    cluster = Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def folders(home: Path) -> list[str]:
    return ["--checkpoint-dir", f"{home}/checkpoints", "--results-dir", f"{home}/results"]


def submit(slurm: Cluster, home: Path, *options: str, plan: str = PLAN) -> Job:
    """Submit the array as a user does, but for the two lines to edit and the place of the logs."""
    words = [*options, f"--output={slurm.home}/%A_%a.log", "slurm/array.sbatch"]
    return slurm.submit(*words, *plan.split(), *folders(home))


def test_whatever_happens_to_the_tasks_the_tables_are_those_of_a_local_run(slurm, tmp_path, mnist):
    there, here = tmp_path / "array", tmp_path / "local"

    # Two cores, so two tasks at a time.
    job = submit(slurm, there, "--partition=low", f"--array=1-{TASKS}")
    job.wait_training(1)
    # As when its time is over. (Slurm 22.05 delivers it, says it could not, and would try again.)
    slurm("timeout", "2", "scancel", "--batch", "--signal=USR2", f"{job.number}_1", check=False)
    job.wait_requeued(1)
    assert "the job is put back in the queue" in job.log(1)
    job.wait_training(2)
    slurm("scontrol", "requeue", f"{job.number}_2")
    job.wait_requeued(2)

    job.wait_training(3)
    job.wait_training(4)
    urgent = slurm.submit("--partition=high", "--exclusive", "--output=/dev/null", "--wrap=sleep 1")
    job.wait_requeued(3)
    job.wait_requeued(4)
    wait_for(lambda: urgent.state() == "COMPLETED")

    job.release(1)
    job.wait_training(1)
    assert "going on after epoch" in job.log(1)
    for process in job.processes(1):
        with contextlib.suppress(ProcessLookupError):  # a worker ends with its parent
            os.kill(process, signal.SIGKILL)
    wait_for(lambda: job.state(1) == "FAILED")

    job.release(2)
    job.wait_training(2)
    slurm("scancel", f"{job.number}_2")
    wait_for(lambda: job.state(2) == "CANCELLED")
    assert "Interrupted; what was done is saved." in job.log(2)

    job.release(3)
    job.release(4)
    wait_for(lambda: {job.state(3), job.state(4)} == {"COMPLETED"})
    again = submit(slurm, there, "--partition=low", f"--array=1-{TASKS}")
    tasks = range(1, TASKS + 1)
    wait_for(lambda: {again.state(task) for task in tasks} == {"COMPLETED"})
    assert job.state(2) == "CANCELLED"
    assert "complete: reused" in again.log(3) and ": epoch " not in again.log(3)
    for log in (each.log(task) for each in (job, again) for task in tasks):
        assert "\r" not in log and "Traceback" not in log

    line = [sys.executable, "run_experiments.py", *PLAN.split(), *folders(here), "--workers", "2"]
    subprocess.run(line, cwd=ROOT, check=True, timeout=PATIENCE)
    line = [sys.executable, "report.py", "--results-dir", f"{there}/results"]
    subprocess.run(line, cwd=ROOT, check=True, timeout=PATIENCE)
    for name in ("summary.csv", "sweep.csv"):
        ours, theirs = ((home / "results" / name).read_bytes() for home in (there, here))
        assert ours == theirs and len(ours.splitlines()) > 8


def test_a_task_that_runs_into_its_end_saves_and_goes_back_into_the_queue(slurm, tmp_path, mnist):
    """On USR2 two minutes before the time limit; on SIGTERM at the end of a pre-emption's grace."""
    endless = PLAN.replace("--epochs 30", "--epochs 100000")
    late = submit(slurm, tmp_path / "a", "--partition=high", "--array=1", "--time=3", plan=endless)
    lent = submit(slurm, tmp_path / "b", "--partition=graceful", "--array=1", plan=endless)
    for job in (late, lent):
        job.wait_training(1)
    slurm.submit("--partition=high", "--output=/dev/null", "--wrap=sleep 1")
    for job, home in ((late, tmp_path / "a"), (lent, tmp_path / "b")):
        job.wait_requeued(1)
        assert "what was done is saved" in job.log(1)
        assert list((home / "checkpoints").glob("*.resume.pt"))
        slurm("scancel", job.number)
    assert "Out of time" in late.log(1) and "DUE TO PREEMPTION" in lent.log(1)
