"""Files scored by several processes, on one machine or many: with Ray Data, one task a file reads
its batches, and workers that each hold the model score them.

What only a worker needs is imported there: a reader starts in a fraction of the time without."""

import importlib.util
import logging
import os
import pickle
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from nbsrc.events.files import File
from nbsrc.events.read import batches_of
from nbsrc.scoring.batch import Scored, score_batch
from nbsrc.support.command import first_line

if TYPE_CHECKING:
    from nbsrc.scoring.scorer import Scorer

Row = dict[str, Any]
ATTEMPTS = 2  # to start Ray
READER = 0.5  # of a core; that it differs from a worker's also keeps Ray from making one of both


def check_ray() -> None:
    """Raise ValueError if Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise ValueError('--engine ray needs Ray: pip install "nbsrc[scale]"')


@contextmanager
def running(workers: int) -> Iterator[None]:
    """Ray with cores for so many workers: where `RAY_ADDRESS` says, or as it runs in this process,
    else on this machine, ended afterwards."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anyone
    import ray

    if ray.is_initialized():
        yield
        return
    # A worker takes one core of those that Ray counts, and the readers one more.
    cores = None if os.environ.get("RAY_ADDRESS") else workers + 1
    try:
        _start(cores)
        yield
    finally:
        ray.shutdown()


def _start(cores: int | None) -> None:
    """Start Ray. It waits 30 s for its own processes; where that is too short, what it starts with
    is in memory the second time. Raises ValueError if it fails then, too."""
    import ray

    for attempt in range(ATTEMPTS):
        try:
            ray.init(num_cpus=cores, include_dashboard=False, logging_level=logging.ERROR,
                     log_to_driver=False)  # fmt: skip
            return
        except Exception as error:
            ray.shutdown()
            if attempt == ATTEMPTS - 1:
                raise ValueError(f"Ray does not start: {first_line(error)}") from error


def scored_by_ray(
    model: Path, files: list[File], batch_size: int, workers: int
) -> Generator[Scored]:
    """The files' batches, scored by so many workers with the model in the folder `model`, in the
    order given; each machine of Ray must see the files and the model.

    Raises ValueError if Ray is not there or does not start, or a worker fails."""
    check_ray()
    import ray
    from ray.data import DataContext, TaskPoolStrategy

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    rows = [{"file": pickle.dumps(file)} for file in files]
    if not rows:  # an empty folder
        return
    try:
        with running(workers):
            context = DataContext.get_current()
            context.enable_progress_bars = False
            context.execution_options.preserve_order = True
            context.target_max_block_size = 1  # byte: each batch may go to another worker
            given = ray.data.from_items(rows, override_num_blocks=len(rows))
            reading = partial(_read, batch_size=batch_size)
            scoring = partial(_score, model=str(model), run=uuid4().hex)
            pool = TaskPoolStrategy(size=workers)
            made = given.flat_map(reading, num_cpus=READER).map(scoring, compute=pool, num_cpus=1)
            for row in made.iter_rows():
                yield pickle.loads(row["scored"])
    except ray.exceptions.RayError as error:
        raise ValueError(f"Ray failed: {first_line(error)}") from error


def _read(row: Row, batch_size: int) -> Iterator[Row]:
    """A file's batches, and at its end what was done to it."""
    notes = Counter[str]()
    for batch in batches_of([pickle.loads(row["file"])], batch_size, notes):
        yield {"read": pickle.dumps((batch, Counter[str]()))}
    yield {"read": pickle.dumps((None, notes))}


def _score(row: Row, model: str, run: str) -> Row:
    """A batch scored; at a file's end, its notes."""
    batch, notes = pickle.loads(row["read"])
    scored = Scored(notes=notes) if batch is None else score_batch(_scorer(model, run), batch)
    return {"scored": pickle.dumps(scored)}


@lru_cache(maxsize=1)
def _scorer(model: str, run: str) -> "Scorer":
    """The model, which a process loads once a run: in the next one the folder may hold another."""
    import torch

    from nbsrc.scoring.scorer import Scorer

    torch.set_num_threads(1)
    return Scorer.load(model)
