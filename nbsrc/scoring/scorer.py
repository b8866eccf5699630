"""What was learned from past events, and what it makes of new ones.

    scorer = Scorer.train(read_events("past.jsonl")[0])
    scores = scorer.score(read_events("new.jsonl")[0])

What is learned is an encoder, a detector, and what is usual, to tell reasons by."""

import os
import tempfile
from collections.abc import Collection
from pathlib import Path

import numpy as np
import polars as pl

from nbsrc.detection.base import FALSE_ALARMS
from nbsrc.detection.combined import CombinedDetector
from nbsrc.events.flatten import flatten, flattened
from nbsrc.events.text import as_text
from nbsrc.scoring.reasons import reasons
from nbsrc.scoring.types import with_booleans
from nbsrc.scoring.usual import Usual, contexts_of
from nbsrc.selfsupervised.batches import check_columns
from nbsrc.selfsupervised.model import masked_model
from nbsrc.selfsupervised.pretraining import check_enough, pretrain
from nbsrc.support.command import first_line
from nbsrc.tabular.columns import Column
from nbsrc.tabular.encoder import EventEncoder
from nbsrc.tabular.expressions import each, value
from nbsrc.training import default_device

EPOCHS = 10
BATCH_SIZE = 512  # in training, at most
FEWEST_STEPS = 50  # in an epoch: a small baseline is learned from in smaller batches


class Scorer:
    """An encoder and a detector that learned from the same past events; nothing it does needs a
    label.

    encoder: fitted on the flattened past events. detector: fitted on what the encoder made of them.
    usual: the counts of their values. Raises ValueError if the detector has other columns than the
    encoder.
    """

    def __init__(self, encoder: EventEncoder, detector: CombinedDetector, usual: Usual) -> None:
        check_columns(detector.model, encoder.transform(pl.DataFrame()))
        self.encoder = encoder
        self.detector = detector
        self.usual = usual
        self.columns = [c for c in encoder.columns_ if c.kept]
        self.known = frozenset(c.column for c in encoder.columns_)
        self.kept = frozenset(c.column for c in self.columns)
        # What the network sees: a column, or what was derived from it, named COLUMN.hour_sin, ...
        own = {c.column: c for c in self.columns}
        names = detector.model.names
        self._columns = [own[n if n in own else n.rpartition(".")[0]] for n in names]

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
        rows, written = flattened(events)
        check_enough(rows.height)
        encoder = EventEncoder(exclude=exclude).fit(rows, written=written, whole_cycles=True)
        encoded = encoder.transform(rows)
        if not encoded.numeric_names + encoded.categorical_names:
            raise ValueError(
                "no column is worth learning: all are constant, identifiers, empty or excluded"
            )
        model = masked_model(encoded, seed=seed)
        batch_size = max(16, min(BATCH_SIZE, rows.height // FEWEST_STEPS))
        pretrain(model, encoded, epochs=epochs, seed=seed, batch_size=batch_size, progress=progress)
        detector = CombinedDetector(model, false_alarms=false_alarms, seed=seed).fit(encoded)
        kept = [c for c in encoder.columns_ if c.kept]
        known = {c.column for c in encoder.columns_ if c.reason != "excluded"}
        return cls(encoder, detector, Usual.of(rows, kept, known))

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
            self.usual.save(made / "usual.safetensors")
            os.rename(made, folder)

    @classmethod
    def load(cls, folder: str | Path) -> "Scorer":
        """What `save` wrote. Raises ValueError if `folder` holds no such model, a damaged or a
        newer one."""
        try:
            folder = Path(folder)
            encoder = EventEncoder.load(folder / "encoder.safetensors")
            detector = CombinedDetector.load(folder)
            detector.model.to(default_device())
            return cls(encoder, detector, Usual.load(folder / "usual.safetensors"))
        except (AttributeError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(
                f"the model in {folder} cannot be loaded: {first_line(error)}"
            ) from error

    def score(self, events: pl.DataFrame) -> pl.DataFrame:
        """One row an event, each scored by itself; `events` are nested or flat.

        Columns: `row` (from 0), `uid` (metadata.uid as text), `time` (UTC), `score` (higher is
        stranger), `flagged` (whether the score is above what the share `false_alarms` of normal
        events exceeds), `reasons` (a list of structs `field`, `value`: of the three objects of the
        event that stand out most, the field that does, the most unusual one first, and the values
        as text; null is a missing one), `why` (the reasons in words, beside what is usual; null
        where not flagged). `uid` and `time` are null where unknown.

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
        rows = with_booleans(rows, self.columns)
        encoded = self.encoder.transform(rows)
        scores, chosen = self.detector.judge(encoded)
        flagged = scores > self.detector.threshold_
        uid, time = pl.lit(None, pl.String), pl.Series("time", encoded.time)
        if "metadata.uid" in rows.columns:
            uid = as_text("metadata.uid", rows.schema["metadata.uid"])
        scored = rows.select(
            pl.int_range(pl.len()).alias("row"),
            uid.alias("uid"),
            time.set(time == 0, None).cast(pl.Datetime("ms", "UTC")),
            pl.Series("score", scores, pl.Float64),
            pl.Series("flagged", flagged),
            _reasons(rows, self._columns, chosen).alias("reasons"),
        )
        places = scored["row"].filter(scored["flagged"])
        why = self.explain(rows[places], scored["reasons"][places])
        return scored.join(
            why.to_frame().insert_column(0, places), on="row", how="left", maintain_order="left"
        )

    def explain(self, rows: pl.DataFrame, chosen: pl.Series) -> pl.Series:
        """The reasons of flattened events in words, beside what is usual: a list of texts each.

        chosen: their `reasons`, as `score_rows` gives them."""
        fields = [[reason["field"] for reason in own] for own in chosen]
        columns = {c.column: c for c in self.columns}
        asked = [columns[n] for n in {n for own in fields for n in own}.intersection(rows.columns)]
        values = each(with_booleans(rows, asked), asked, value)
        events = values.rows(named=True) or [{}] * rows.height
        contexts = contexts_of(rows, self.usual.kinds).rows()
        why = [
            reasons([columns[name] for name in own], event, context, self.usual)
            for own, event, context in zip(fields, events, contexts, strict=True)
        ]
        return pl.Series("why", why, pl.List(pl.String))


def _reasons(rows: pl.DataFrame, columns: list[Column], chosen: np.ndarray) -> pl.Series:
    """A list of structs (field, value) for each row; chosen (rows, k) are places in `columns`."""
    if not rows.height:
        return pl.Series(dtype=pl.List(pl.Struct({"field": pl.String, "value": pl.String})))
    flat = chosen.ravel()
    by_field = np.argsort(flat, kind="stable")
    present, starts = np.unique(flat[by_field], return_index=True)
    there = set(rows.columns)
    texts = _texts(rows, {c.column: c for i in present if (c := columns[i]).column in there})
    parts = [pl.Series(dtype=pl.String)]
    for i, places in zip(present, np.split(by_field, starts[1:]), strict=True):
        if columns[i].column in there:
            parts.append(texts[columns[i].column].gather(places // chosen.shape[1]))
        else:
            parts.append(pl.repeat(None, len(places), dtype=pl.String, eager=True))
    values = pl.concat([part.alias("value") for part in parts]).gather(np.argsort(by_field))
    names = pl.Series([column.column for column in columns]).gather(flat)
    pairs = pl.DataFrame({"field": names, "value": values}).to_struct()
    return pairs.reshape(chosen.shape).arr.to_list()


def _texts(rows: pl.DataFrame, columns: dict[str, Column]) -> pl.DataFrame:
    """The columns' values as texts, a moment as date and time."""
    values = each(rows, list(columns.values()), value)
    schema = values.schema
    return values.select(
        pl.from_epoch(name, "ms").dt.to_string("%Y-%m-%d %H:%M:%S UTC")
        if column.kind == "time"
        else as_text(name, schema[name]).alias(name)
        for name, column in columns.items()
    )
