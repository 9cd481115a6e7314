"""Where things are kept: paths alone."""

from dataclasses import dataclass
from pathlib import Path

from config import Run


@dataclass(frozen=True)
class Folders:
    """Where things are kept."""

    data: Path
    checkpoints: Path
    results: Path

    def record(self, run: Run) -> Path:
        """Return where the record of `run` is kept."""
        return self.results / "runs" / f"{run.run_id}.json"
