"""Files scored by several processes, on one machine or many: with Ray Data, one task a file reads
its batches, and workers that each hold the model score them.

What only a worker needs is imported there: a reader starts in a quarter of the time without."""

import importlib.util
import logging
import os
import pickle
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nbsrc.events.files import File
from nbsrc.events.read import batches_of
from nbsrc.scoring.batch import Scored, score_batch
from nbsrc.support.command import first_line

Row = dict[str, Any]
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
    quiet = {"include_dashboard": False, "logging_level": logging.ERROR, "log_to_driver": False}
    try:
        ray.init(num_cpus=cores, **quiet)
        yield
    finally:
        ray.shutdown()


def scored_by_ray(
    model: Path, files: list[File], batch_size: int, workers: int
) -> Generator[Scored]:
    """The files' batches, scored by so many workers with the model in the folder `model`, in the
    order given; each machine of Ray must see the files and the model.

    Raises ValueError if Ray is not there or does not start, or a worker fails."""
    check_ray()
    import ray
    from ray.data import ActorPoolStrategy, DataContext

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    rows = [{"file": pickle.dumps(file)} for file in files]
    try:
        with running(workers):
            context = DataContext.get_current()
            context.enable_progress_bars = False
            context.execution_options.preserve_order = True
            context.target_max_block_size = 1  # byte: each batch may go to another worker
            given = ray.data.from_items(rows, override_num_blocks=len(rows))
            read = given.flat_map(_read, fn_args=(batch_size,), num_cpus=READER)
            made = read.map(
                _Worker, fn_constructor_args=(str(model),), num_cpus=1, max_restarts=0,
                compute=ActorPoolStrategy(size=workers),
            )  # fmt: skip
            for row in made.iter_rows():
                yield pickle.loads(row["scored"])
    except (ray.exceptions.RayError, RuntimeError) as error:
        raise ValueError(f"Ray failed: {first_line(error)}") from error


def _read(row: Row, batch_size: int) -> Iterator[Row]:
    """A file's batches, and at its end what was done to it."""
    notes = Counter[str]()
    for batch in batches_of([pickle.loads(row["file"])], batch_size, notes):
        yield {"read": pickle.dumps((batch, Counter[str]()))}
    yield {"read": pickle.dumps((None, notes))}


class _Worker:
    """What a worker holds: the model, loaded once."""

    def __init__(self, model: str) -> None:
        import torch

        from nbsrc.scoring.scorer import Scorer

        torch.set_num_threads(1)
        self.scorer = Scorer.load(model)

    def __call__(self, row: Row) -> Row:
        batch, notes = pickle.loads(row["read"])
        scored = Scored(notes=notes) if batch is None else score_batch(self.scorer, batch)
        return {"scored": pickle.dumps(scored)}
