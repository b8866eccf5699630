"""How many incidents each method finds, on simulated streams:

python -m nbsrc.incidents.experiment --seeds 201 202 203 --out results/incidents.json

No label reaches anything that is fitted. All settings, the rules' limits included, were chosen on
streams with the seeds 101 to 105, and on none with other seeds; none was chosen on the kinds of
`nbsrc.simulation.unforeseen`."""

import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from nbsrc.detection.base import Ranker, held_out
from nbsrc.detection.baselines import Rarity
from nbsrc.detection.surprise import SurpriseDetector
from nbsrc.events.flatten import flatten_objects
from nbsrc.incidents.alerts import deduplicated
from nbsrc.incidents.entities import Entities
from nbsrc.incidents.finder import IncidentFinder, as_if_unseen, singles, with_scores
from nbsrc.incidents.measure import BUDGETS, found, incidents_of, judged
from nbsrc.selfsupervised.model import masked_model
from nbsrc.selfsupervised.pretraining import pretrain
from nbsrc.simulation.stream import SCENARIOS, simulate_events
from nbsrc.simulation.unforeseen import UNFORESEEN
from nbsrc.support.command import parser, run
from nbsrc.support.results import provenance, read_result, write_result
from nbsrc.tabular.encoder import EventEncoder
from nbsrc.training import one_thread

PROG = "python -m nbsrc.incidents.experiment"
PAST = 0.7  # share of a stream, by time, that is baseline
CONTAMINATION = 0.015  # share of labelled events in the contaminated past, copies included
PASTS = ("clean", "contaminated", "unforeseen")
EVENTS, EPOCHS = 40_000, 4
# fmt: off
OPTIONS: dict[str, dict[str, Any]] = {
    "--seeds": {"type": int, "nargs": "+", "required": True, "metavar": "N",
        "help": "of the streams; a file that is there is gone on with, by the seeds it lacks"},
    "--pasts": {"nargs": "+", "choices": PASTS, "default": list(PASTS), "metavar": "PAST",
        "help": f"{', '.join(PASTS)} (default: all)"},
    "--epochs": {"type": int, "default": EPOCHS, "metavar": "N",
        "help": "passes over the past, to learn single events; 0 counts only "
        "(default: %(default)s)"},
    "--out": {"type": Path, "required": True, "metavar": "FILE", "help": "the JSON file"},
}
# fmt: on
METHODS = (
    "single events",
    "single events, by entity",
    "rules",
    "windows",
    "events in context",
    "together, without rules",
    "together",
)  # fmt: skip


def stream(
    events: int, *, seed: int, past: str = "clean"
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """A simulated past, the events after it, both flattened, and the incidents among these, as
    `incidents_of` gives them.

    past: "clean", without any labelled event; "contaminated", where labelled events, repeated, are
    1.5%; "unforeseen", clean, in a stream that also holds the kinds kept for reports, with their
    look-alikes."""
    scenarios = (*SCENARIOS, *UNFORESEEN) if past == "unforeseen" else SCENARIOS
    simulated, labels = simulate_events(events, seed=seed, scenarios=scenarios)
    rows = flatten_objects(simulated)
    cut = int(PAST * rows.height)
    before, new = rows[:cut], rows[cut:]
    wrong = before["metadata.uid"].is_in(labels["uid"].implode())
    kept = np.flatnonzero(~wrong.to_numpy())
    if past == "contaminated":
        wanted = int(CONTAMINATION / (1 - CONTAMINATION) * len(kept))
        kept = np.sort(np.concatenate([kept, np.resize(np.flatnonzero(wrong.to_numpy()), wanted)]))
    return before[kept], new, incidents_of(labels, new["metadata.uid"], new["time"])


def scored(
    past: pl.DataFrame, new: pl.DataFrame, detector: Ranker | None = None, *, seed: int, epochs: int
) -> tuple[Entities, pl.DataFrame, pl.DataFrame]:
    """Where events tell what they are about, and past and new events as `IncidentFinder` takes
    them, with the scores of a detector: by default `SurpriseDetector`'s, on a network that is
    trained here; with 0 epochs `Rarity`'s, which only counts."""
    encoder = EventEncoder().fit(past)
    encoded, encoded_new = encoder.transform(past), encoder.transform(new)
    if detector is None and not epochs:
        detector = Rarity()
    if detector is None:
        model = masked_model(encoded, seed=seed, d_block=64, n_blocks=2)
        pretrain(model, encoded, epochs=epochs, seed=seed, progress=False)
        detector = SurpriseDetector(model)
    detector.fit(encoded)
    recent = held_out(encoded)
    known = detector.decision_function(recent)
    entities = Entities.find(past, encoder.columns_)
    before = with_scores(entities.narrow(past, encoded.time), known, last=len(recent.time))
    if isinstance(detector, SurpriseDetector):
        before = before.with_columns(
            as_if_unseen(before["score"], detector.threshold_, detector.false_alarms)
        )
    after = with_scores(
        entities.narrow(new, encoded_new.time), detector.decision_function(encoded_new)
    )
    return entities, before, after


def methods(
    past: pl.DataFrame, new: pl.DataFrame, *, seed: int, epochs: int
) -> Iterator[tuple[str, pl.DataFrame]]:
    """Every method of `METHODS` and its deduplicated alerts about the new events."""
    entities, before, after = scored(past, new, seed=seed, epochs=epochs)
    finder = IncidentFinder(entities).fit(before)
    yield "single events", singles(after)
    own = finder.lists(after)
    yield "single events, by entity", deduplicated(own["single events"])
    yield "rules", deduplicated(own["rules"])
    yield "windows", deduplicated(own["windows"])
    yield "events in context", deduplicated(own["events in context"])
    unruled = {name: alerts for name, alerts in own.items() if name != "rules"}
    yield "together, without rules", finder.together(unruled)
    yield "together", finder.together(own)


def incident_experiment(
    seeds: Sequence[int],
    *,
    pasts: Sequence[str] = PASTS,
    events: int = EVENTS,
    epochs: int = EPOCHS,
) -> pl.DataFrame:
    """One row a past, seed, method, budget and incident.

    Columns: `past`, `seed`, `epochs` (0: single events are scored by `Rarity`), `method`, `budget`,
    `scenario`, `instance`, `found`, `delay` (hours, null where not found), and for the whole list
    `precision` and `named` (events an alert)."""
    tables = [
        table
        for seed in seeds
        for past in pasts
        for table in _once(seed, past, events=events, epochs=epochs)
    ]
    return pl.concat(tables)


def _once(seed: int, past: str, *, events: int, epochs: int) -> Iterator[pl.DataFrame]:
    with one_thread():
        before, new, incidents = stream(events, seed=seed, past=past)
        for method, alerts in methods(before, new, seed=seed, epochs=epochs):
            overall = judged(alerts, incidents, budgets=BUDGETS)
            for budget in BUDGETS:
                own = overall.filter(budget=budget)
                yield found(alerts, incidents, budget=budget).select(
                    pl.lit(past).alias("past"),
                    pl.lit(seed).alias("seed"),
                    pl.lit(epochs).alias("epochs"),
                    pl.lit(method).alias("method"),
                    pl.lit(budget).alias("budget"),
                    "scenario",
                    "instance",
                    "found",
                    pl.col("delay").round(3),
                    pl.lit(own["precision"][0]).round(4).alias("precision"),
                    pl.lit(own["named"][0]).round(2).alias("named"),
                )


def main(argv: list[str] | None = None) -> int:
    """The command; a file that is there is gone on with, by the seeds that it lacks."""
    args = parser(PROG, "Measure which incidents each method finds.", "", OPTIONS).parse_args(argv)

    def work() -> None:
        rows, seconds = [], 0.0
        if args.out.exists():
            table, about = read_result(args.out)
            rows, seconds = [table], about["seconds"]
        for past in args.pasts:
            for seed in args.seeds:
                done = {"past": past, "seed": seed, "epochs": args.epochs}
                if any(not table.filter(**done).is_empty() for table in rows):
                    continue
                began = time.perf_counter()
                own = incident_experiment([seed], pasts=[past], epochs=args.epochs)
                seconds += time.perf_counter() - began
                rows = [pl.concat([*rows, own], how="vertical_relaxed")]
                device = torch.device("cpu")
                about = provenance(f"{PROG} {' '.join(argv or sys.argv[1:])}", device, ["polars"])
                about |= {"data": f"simulate_events({EVENTS})", "seconds": round(seconds)}
                write_result(args.out, rows[0], about)
                print(f"{past}, seed {seed}: {time.perf_counter() - began:.0f} s", flush=True)

    return run(PROG, partial(work), interrupted=lambda: "Seeds that were done are stored.")


if __name__ == "__main__":
    sys.exit(main())
