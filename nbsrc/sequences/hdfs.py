"""HDFS: what a cluster's log says about each block of data (Xu et al. 2009), as sequences of kinds
of message."""

from pathlib import Path

import numpy as np

from nbsrc.sequences.download import Source, fetch
from nbsrc.sequences.labelled import Labelled, labelled

_FROM = (
    "https://raw.githubusercontent.com/ait-aecid/anomaly-detection-log-datasets/"
    "efe7c685fa96b6b949912f6143ce6299c434754b/hdfs_xu/"
)
NORMAL = Source(
    "hdfs/hdfs_train",
    f"{_FROM}hdfs_train",
    "561df073b92b05cea3124e62374219e515aaf188315299f0bcfa9a1370196ce7",
)
ABNORMAL = Source(
    "hdfs/hdfs_test_abnormal",
    f"{_FROM}hdfs_test_abnormal",
    "659f00648225db86e7c2473b63f6d3057c5343e156fecc60639db18e83dc0cf5",
)


def load_hdfs(folder: Path | str, *, seed: int) -> Labelled:
    """HDFS from `folder`, downloaded into it if it is not there, as Landauer et al. 2024
    grouped it.

    Their sample of 5,583 normal blocks, 1% of all, is cut into two halves by `seed`: one to learn
    from, one to score beside all 16,838 abnormal blocks. Each abnormal block is a group by itself.

    Raises as `fetch` does."""
    normal, abnormal = (_read(fetch(source, folder)) for source in (NORMAL, ABNORMAL))
    order = np.random.default_rng(seed).permutation(len(normal))
    past, new = np.array_split(order, 2)
    return labelled(
        [normal[i] for i in past],
        [normal[i] for i in new],
        abnormal,
        [f"block {i}" for i in range(len(abnormal))],
    )


def _read(path: Path) -> list[np.ndarray]:
    """One block a line: its name, a comma, its messages' kinds."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [np.array(line.split(",")[1].split(), dtype=np.int64) for line in lines]
