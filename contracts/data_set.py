"""Where the reviews of a data set lie: training makes it, and the gateway must know one when it is named one."""

from __future__ import annotations

from pathlib import Path

REVIEWS = "reviews"
FACTS = "facts.json"
"""Its card. There is none while it is being filled."""
PARTITION = "product_category"
WORK = ".ingest"
"""What is being made of its sources, and what is known of them."""


def is_data_set(folder: Path) -> bool:
    """Whether a folder is a data set, or one that is being filled, and no folder of files to make one of."""
    return (folder / WORK).is_dir() or next((folder / REVIEWS).glob(f"{PARTITION}=*"), None) is not None
