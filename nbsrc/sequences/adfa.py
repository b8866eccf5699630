"""ADFA-LD: system calls of processes on a Linux server, and of attacks (Creech and Hu 2013)."""

import zipfile
from pathlib import Path, PurePosixPath

import numpy as np

from nbsrc.sequences.download import Source, fetch
from nbsrc.sequences.labelled import Labelled, labelled

SOURCE = Source(
    "ADFA-LD.zip",
    "https://raw.githubusercontent.com/verazuo/a-labelled-version-of-the-ADFA-LD-dataset/"
    "58332c8d7dfbecb9f3e746c9f691623b91f51dfd/ADFA-LD.zip",
    "58d625470749344843a7f730b0875ce9b8769f6fa48f18dc4a92bd07c342ead5",
)
PARTS = ("Training_Data_Master", "Validation_Data_Master", "Attack_Data_Master")


def load_adfa(folder: Path | str) -> Labelled:
    """ADFA-LD from `folder`, downloaded into it if it is not there: 833 normal traces to learn
    from, 4,372 normal ones and 746 of 60 attacks to score. A trace's group is its attack, such as
    "Hydra_SSH_9".

    For academic use. Raises as `fetch` does."""
    traces: dict[str, list[np.ndarray]] = {part: [] for part in PARTS}
    attacks = []
    with zipfile.ZipFile(fetch(SOURCE, folder)) as archive:
        for name in sorted(archive.namelist()):
            where = PurePosixPath(name).parts
            if where[1:2] and where[1] in PARTS and name.endswith(".txt"):
                traces[where[1]].append(np.array(archive.read(name).split(), dtype=np.int64))
                if where[1] == PARTS[2]:
                    attacks.append(where[2])
    past, normal, abnormal = (traces[part] for part in PARTS)
    return labelled(past, normal, abnormal, attacks)
