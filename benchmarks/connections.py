"""The scoring command's detector on a small real log, its alarms with their reasons.

python -m benchmarks.connections --data FOLDER --out results/connections.json

The log is the 992 connections of `nbsrc.sequences.zeek`, downloaded into the folder if it is not
there. The first 200 are the past, as they are; labels are compared with the alarms afterwards."""

import argparse
import sys
import time
import warnings
from functools import partial
from pathlib import Path

import polars as pl
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from nbsrc.detection.base import HELD_OUT
from nbsrc.scoring.scorer import Scorer
from nbsrc.sequences.zeek import load_zeek
from nbsrc.support.command import Parser, run
from nbsrc.support.results import provenance, write_result

PAST, FALSE_ALARMS, SHOWN = 200, 0.01, 12
HELD = round(HELD_OUT * PAST)  # connections of the past that set the threshold
NUMBERS = ("duration", "orig_bytes", "resp_bytes", "missed_bytes", "orig_pkts", "resp_pkts")
NUMBERS += ("orig_ip_bytes", "resp_ip_bytes")
LABELS = ("label", "detailedlabel")


def connections(folder: Path) -> pl.DataFrame:
    """The log in the order of time, numbers as numbers, what is unset as null."""
    log = load_zeek(folder).with_columns(pl.col(pl.String).replace(["-", "(empty)"], None))
    return log.with_columns(pl.col(name).cast(pl.Float64) for name in NUMBERS).sort("ts")


def alarms(log: pl.DataFrame, *, seed: int = 0) -> tuple[pl.DataFrame, dict[str, float]]:
    """The highest scores with what they are about, and how the log's alarms compare with labels."""
    events = log.drop(LABELS)
    scorer = Scorer.train(
        events[:PAST], exclude=("ts", "uid"), false_alarms=FALSE_ALARMS, seed=seed, progress=False
    )
    scores = scorer.score(events[PAST:]).with_columns(
        log[PAST:].select("label", "id.orig_h", "id.resp_h", "id.resp_p", "proto", "service")
    )
    beacon = (scores["label"] == "Malicious").to_numpy()
    figures = {
        "past": PAST,
        "past_beacon": int((log["label"][:PAST] == "Malicious").sum()),
        "held_out_beacon": int((log["label"][PAST - HELD : PAST] == "Malicious").sum()),
        "new": len(beacon),
        "beacon": int(beacon.sum()),
        "flagged": int(scores["flagged"].sum()),
        "flagged_beacon": int(scores["flagged"].to_numpy()[beacon].sum()),
        "roc_auc": float(roc_auc_score(beacon, scores["score"])),
        "average_precision": float(average_precision_score(beacon, scores["score"])),
    }
    # Connections that tell the same reasons are one line, with their number.
    told = scores.filter("flagged").with_columns(pl.col("why").list.join("; "))
    same = pl.col("id.resp_h", "id.resp_p", "why")
    grouped = told.group_by(same, maintain_order=True).agg(
        pl.len().alias("connections"), pl.max("score").round(2), pl.first("label", "proto")
    )
    return grouped.sort("score", descending=True).head(SHOWN), figures


def _run(args: argparse.Namespace) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    started = time.perf_counter()
    rows, figures = alarms(connections(args.data))
    about = provenance(
        "python -m benchmarks.connections", torch.device("cpu"), ("polars", "scikit-learn")
    )
    data = "992 connections of a machine with the njRAT Trojan (Garcia et al., Stratosphere)"
    about |= {"data": data, "seconds": round(time.perf_counter() - started), "figures": figures}
    write_result(args.out, rows, about)


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="python -m benchmarks.connections", description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("data"), help="where the log is")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    work = partial(_run, parser.parse_args(argv))
    return run("python -m benchmarks.connections", work, interrupted=lambda: "Nothing written.")


if __name__ == "__main__":
    sys.exit(main())
