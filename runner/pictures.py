"""Pictures and labels of the images that the report shows: kept while the data set is at hand."""

import sys

import data
from runner.execute import load_dataset
from store import pictures
from store.folders import Folders
from store.plan import Plan


def keep(plan: Plan, folders: Folders) -> None:
    """Bring `images.json` of a results folder up to what its records say, with the pictures.

    Nothing is written where no answers were kept. What goes wrong is told, and ends nothing: the
    report does without.
    """
    from reporting import results  # pandas and SciPy: no worker needs them

    try:
        summary = results.read(folders.results).answered
        if not summary or not summary["weights"]:
            return
        if wanted := pictures.lacking(summary):
            images, labels = counted(plan, folders)
            found = {n: (images[n].numpy(), int(labels[n])) for n in wanted if n < len(labels)}
            pictures.add(summary, found)
        pictures.save(folders.results, summary)
    except (OSError, ValueError, data.DataError) as error:
        print(f"pictures of images not kept: {error}", file=sys.stderr, flush=True)


def counted(plan: Plan, folders: Folders):
    """Return the images and labels that a plan's runs are measured on."""
    dataset = load_dataset(plan.runs[0], plan.sweep, folders.data)
    return dataset.test_images, dataset.test_labels
