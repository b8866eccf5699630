"""A scorer: what was learned from past events, and what it makes of new ones.

scorer = Scorer.train(read_events("past.jsonl")[0])
scores = scorer.score(read_events("new.jsonl")[0])
"""

import os
import tempfile
from collections.abc import Collection
from pathlib import Path

import numpy as np
import polars as pl

from nbsrc.detection.base import FALSE_ALARMS
from nbsrc.detection.surprise import SurpriseDetector
from nbsrc.events.flatten import flatten
from nbsrc.selfsupervised.batches import check_columns
from nbsrc.selfsupervised.model import masked_model
from nbsrc.selfsupervised.pretraining import pretrain
from nbsrc.support.command import first_line
from nbsrc.tabular.encoder import EventEncoder
from nbsrc.training import default_device

EPOCHS = 10
BATCH_SIZE = 512  # in training, at most
FEWEST_STEPS = 50  # in an epoch: a small baseline is learned from in smaller batches


class Scorer:
    """An encoder and a detector that learned from the same past events; nothing it does needs a
    label.

    encoder: fitted on the flattened past events. detector: fitted on what the encoder made of them.
    Raises ValueError if the detector has other columns than the encoder.
    """

    def __init__(self, encoder: EventEncoder, detector: SurpriseDetector) -> None:
        check_columns(detector.model, encoder.transform(pl.DataFrame()))
        self.encoder = encoder
        self.detector = detector
        told = encoder.describe()
        self.known = frozenset(told["column"])
        self.kept = frozenset(told.filter(decision="kept")["column"])
        # A derived column is named COLUMN.hour_sin or COLUMN.present.
        names = detector.model.names
        self._fields = [name if name in self.kept else name.rpartition(".")[0] for name in names]

    @classmethod
    def train(
        cls,
        events: pl.DataFrame,
        *,
        exclude: tuple[str, ...] = (),
        false_alarms: float = FALSE_ALARMS,
        epochs: int = EPOCHS,
        seed: int = 0,
        progress: bool = True,
    ) -> "Scorer":
        """Learn what is normal from past events, nested or flat; `exclude` names fields to leave
        out with all below.

        `false_alarms` is the share of normal events that may be flagged. Equal arguments give equal
        scores on one machine's CPU. Raises ValueError if there are fewer events than `pretrain`
        needs, no column is worth learning, or an argument makes no sense."""
        if not 0 < false_alarms < 1 or epochs < 1 or seed < 0:
            raise ValueError(
                "false alarms must be between 0 and 1, epochs at least 1 and the seed at least 0, "
                f"however: {false_alarms}, {epochs}, {seed}"
            )
        rows = flatten(events)
        encoder = EventEncoder(exclude=exclude).fit(rows)
        encoded = encoder.transform(rows)
        if not encoded.numeric_names + encoded.categorical_names:
            raise ValueError(
                "no column is worth learning: all are constant, identifiers, empty or excluded"
            )
        model = masked_model(encoded, seed=seed)
        batch_size = max(16, min(BATCH_SIZE, rows.height // FEWEST_STEPS))
        pretrain(model, encoded, epochs=epochs, seed=seed, batch_size=batch_size, progress=progress)
        return cls(encoder, SurpriseDetector(model, false_alarms=false_alarms).fit(encoded))

    def save(self, folder: str | Path) -> None:
        """Write what was learned into the new folder `folder`, as a whole. Raises FileExistsError
        if it is there."""
        folder = Path(folder)
        if folder.exists():
            raise FileExistsError(f"{folder} is there already: name a new folder")
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
            made = Path(scratch) / "model"
            self.encoder.save(made / "encoder.safetensors")
            self.detector.save(made)
            os.rename(made, folder)

    @classmethod
    def load(cls, folder: str | Path) -> "Scorer":
        """What `save` wrote. Raises ValueError if `folder` holds no such model, a damaged or a
        newer one."""
        try:
            encoder, detector = (
                EventEncoder.load(Path(folder) / "encoder.safetensors"),
                SurpriseDetector.load(folder),
            )
            detector.model.to(default_device())
            return cls(encoder, detector)
        except (AttributeError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(
                f"the model in {folder} cannot be loaded: {first_line(error)}"
            ) from error

    def score(self, events: pl.DataFrame) -> pl.DataFrame:
        """One row an event, each scored by itself; `events` are nested or flat.

        Columns: `row` (from 0), `uid` (metadata.uid as text), `time` (UTC), `score` (higher is
        stranger), `flagged` (whether the score is above what the share `false_alarms` of normal
        events exceeds), `reasons` (a list of structs `field`, `value`: of the three objects of the
        event that surprise most, the field that does, the most surprising one first, and the values
        as text; null is a missing one). `uid` and `time` are null where unknown.

        The time is `time` or OCSF's other ones; without those, that of the only column of times
        there is.

        Raises ValueError if the events share no column with the model.
        """
        rows = flatten(events)
        self.check_columns(rows.columns)
        return self.score_rows(rows)

    def check_columns(self, columns: Collection[str]) -> None:
        """Raise ValueError if none of the flattened events' columns is one of the model's."""
        if self.kept.isdisjoint(columns):
            theirs, ours = (", ".join(sorted(some)[:3]) or "none" for some in (columns, self.kept))
            raise ValueError(
                f"the events share no column with the model: theirs are {theirs}, ...; "
                f"the model's are {ours}, ..."
            )

    def score_rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        """`score` for events that are flattened already; what they do not share is missing."""
        encoded = self.encoder.transform(rows)
        scores, reasons = self.detector.judge(encoded)
        uid = (
            _text(rows["metadata.uid"])
            if "metadata.uid" in rows.columns
            else pl.repeat(None, rows.height, eager=True)
        )
        time = pl.Series(encoded.time).cast(pl.Datetime("ms", "UTC"))
        return pl.DataFrame({
            "row": pl.int_range(rows.height, eager=True),
            "uid": uid.cast(pl.String),
            "time": time.set(pl.Series(encoded.time == 0), None),
            "score": scores.astype(np.float64),
            "flagged": scores > self.detector.threshold_,
            "reasons": _reasons(rows, self._fields, reasons),
        })  # fmt: skip


def _reasons(rows: pl.DataFrame, fields: list[str], chosen: np.ndarray) -> pl.Series:
    """A list of structs (field, value) for each row; chosen (rows, k) are indices into `fields`."""
    flat = chosen.ravel()
    by_field = np.argsort(flat, kind="stable")
    present, starts = np.unique(flat[by_field], return_index=True)
    parts = [pl.Series(dtype=pl.String)]
    there = set(rows.columns)
    for index, places in zip(present, np.split(by_field, starts[1:]), strict=True):
        name = fields[index]
        if name in there:
            parts.append(_text(rows[name].gather(places // chosen.shape[1])))
        else:
            parts.append(pl.repeat(None, len(places), dtype=pl.String, eager=True))
    values = pl.concat([part.alias("value") for part in parts]).gather(np.argsort(by_field))
    reasons = pl.DataFrame({"field": pl.Series(fields).gather(flat), "value": values}).to_struct()
    return reasons.reshape(chosen.shape).arr.to_list()


def _text(series: pl.Series) -> pl.Series:
    if series.dtype == pl.Binary:
        return series.bin.encode("hex")
    if series.dtype == pl.Duration:
        return series.dt.total_milliseconds().cast(pl.String)
    try:
        return series.cast(pl.String, strict=False)
    except pl.exceptions.PanicException:  # a date beyond the calendar: its number, then
        return series.to_physical().cast(pl.String)
