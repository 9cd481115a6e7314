"""One vocabulary for the columns of all CSV files; `docs/files.md` has their units. No torch."""

import pandas as pd

NAMES = {"alpha": "alpha_test", "strength": "alpha_test"}
"""What tables call their columns inside, and what files call them: a strength of noise at test is
`alpha_test` in every file, as in sweep.csv, whatever the family."""


def named(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with the columns' names of files.

    Raises:
        ValueError: if two columns would have one name.
    """
    renamed = table.rename(columns=NAMES)
    if not renamed.columns.is_unique:
        raise ValueError(f"two columns of one name among {[*table.columns]}")
    return renamed
