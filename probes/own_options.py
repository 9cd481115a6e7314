"""The options of `evaluate.py` for your own models, and the models that they name."""

from dataclasses import dataclass, fields
from pathlib import Path

from config import Sweep
from machine import offers
from machine.checks import UsageError, choose_device, distinct, positive, shown, within
from noises.words import read_noise
from sources.library import Find, read_library
from sources.own import Own, read_file
from sources.shelves import SHELVES


@dataclass(frozen=True)
class Options:
    """Your own models."""

    model: str = ""
    """A file of yours, mine.py (docs/model.md says what stands in it); or torchvision:NAME or
    timm:NAME, a library's image classifier."""
    weights: Path | None = None
    """State dict of a library's model; None = the library's own weights."""
    data: str = ""
    """Test images of a library's model: folder:PATH, a folder per class; or a dataset's name."""
    size: int = 0
    """Side of the images in pixels; 0 = as the library has it."""
    mean: tuple[float, ...] = ()
    """Mean of the pixels in [0, 1], one or by channel; None = as the library has it."""
    std: tuple[float, ...] = ()
    """Their standard deviation."""
    alphas: tuple[float, ...] = ()
    """Noise strengths α to measure and no others, relative to each weight tensor's standard
    deviation; 0 is among them. None = 0 0.01 0.02 0.05 0.1 0.2, and on until the break is found."""
    noise: tuple[str, ...] = ()
    """Noise families beside the Gaussian one: a name, or a name with its strengths."""
    device: str = ""
    """cpu, cuda, cuda:N or auto; "" = where your file puts its models, auto for a library's."""
    threads: int = 0
    """Threads of your own models; 0 = all cores."""

    def check(self) -> None:
        """Check what can be seen before work starts.

        Raises:
            UsageError: with one line that names the option and what it takes.
        """
        for f in fields(self):
            if f.name != "model" and not self.model and getattr(self, f.name) != f.default:
                raise UsageError(f"--{f.name}: is for --model")
        if not self.model:
            return
        if self.alphas:
            distinct("--alphas", self.alphas)
            for alpha in self.alphas:
                positive("--alphas", alpha, zero=True)
            if 0 not in self.alphas:
                raise UsageError("--alphas: takes noise strengths with 0 among them, as 0 0.1 0.5")
        read_noise(self.noise)
        within("--threads", self.threads, 0, offers.cores(), "0 = all of this machine's cores")
        if self.device:
            choose_device(self.device)
        if self.library:
            if not self.data:
                raise UsageError("--data: takes folder:PATH or a dataset's name, with --model NAME")
            return
        shelf, colon, _ = self.model.partition(":")
        if colon and not Path(self.model).exists():
            raise UsageError(
                f"--model: takes a file, or {' or '.join(f'{n}:NAME' for n in SHELVES)}; "
                f"{shown(shelf)} is no library known here"
            )
        for name in ("weights", "data", "size", "mean", "std"):
            if getattr(self, name):
                raise UsageError(f"--{name}: is for --model torchvision:NAME; {self.model} says it")

    def check_beside(self, architectures: bool, checkpoint: bool, instead: str) -> None:
        """Check that nothing is asked for that would be passed over.

        Args:
            architectures, checkpoint: whether these are named.
            instead: the option that is done in place of a sweep; "" = none is.

        Raises:
            UsageError: with one line that names the option.
        """
        if self.model and (architectures or checkpoint):
            option = "ARCH" if architectures else "--checkpoint"
            raise UsageError(f"{option}: is for models of this program; --model names its own")
        for name in ("alphas", "noise"):
            if instead and getattr(self, name):
                takes = "at --alpha" if instead == "--by-layer" else "what --units names"
                raise UsageError(f"--{name}: is for the sweep; {instead} measures {takes}")

    @property
    def library(self) -> bool:
        """Whether a library's model is asked for."""
        return self.model.partition(":")[0] in SHELVES and ":" in self.model

    def sweep(self, draws: int, test_size: int) -> Sweep:
        """Return what to measure."""
        alphas = tuple(sorted(float(a) for a in self.alphas))
        return Sweep(alphas, draws, test_size, noise=read_noise(self.noise))


def read(asked: Options, find: Find, test_size: int) -> Own:
    """Return the models that are asked for.

    Raises:
        UsageError: what is wrong with them, in a line.
    """
    if not asked.library:
        return read_file(Path(asked.model), test_size, asked.device)
    device = choose_device(asked.device or "auto")
    look = (asked.size, asked.mean, asked.std)
    return read_library(asked.model, asked.weights, asked.data, find, *look, test_size, device)
