"""A log of connections in which some are a Trojan's beats, and how regular each pair's are."""

from pathlib import Path

import polars as pl

from nbsrc.sequences.download import Source, fetch

SOURCE = Source(
    "zeek/001-labeled-conn.log",
    "https://raw.githubusercontent.com/stratosphereips/security-datasets-for-testing/"
    "138f2ad7a19fbdb76578b309ade06bcb26e2adff/001-zeek-scenario-malicious/labeled-conn.log",
    "0871016451ce1ebf8713bc0b117079c490615290cbff034b735d096b35722e82",
)
BEATS = 6  # connections that a pair must have: fewer are regular by chance


def load_zeek(folder: Path | str) -> pl.DataFrame:
    """992 connections of a Windows machine with the njRAT Trojan, from `folder`, downloaded into it
    if they are not there (CTU-Malware-Capture-Botnet-230-1; Zeek's conn.log, labelled).

    Columns, all text but for `ts` (seconds): Zeek's names, `label` and `detailedlabel`. Raises as
    `fetch` does."""
    lines = fetch(SOURCE, folder).read_text(encoding="utf-8").splitlines()
    names = next(line for line in lines if line.startswith("#fields")).split("\t")[1:]
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    return pl.DataFrame(rows, schema=names, orient="row").with_columns(pl.col("ts").cast(float))


def regularity(connections: pl.DataFrame, *, beats: int = BEATS) -> pl.DataFrame:
    """How regular the gaps between a pair's connections are, the most regular pair first.

    A pair is who connects, to whom and to which port; those of fewer than `beats` connections are
    left out. Columns: `from`, `to`, `port`, `connections`, `gap` (median, seconds), `deviation`
    (the median of the gaps' distances from it, as a share of it: 0 is a clock), `multicast`
    (whether the address is one of a group, as neighbours announce themselves to), `labels`."""
    gaps = pl.col("ts").sort().diff().drop_nulls()
    gap = gaps.median()
    pairs = connections.group_by(
        pl.col("id.orig_h").alias("from"),
        pl.col("id.resp_h").alias("to"),
        pl.col("id.resp_p").alias("port"),
    ).agg(
        pl.len().alias("connections"),
        gap.alias("gap"),
        ((gaps - gap).abs().median() / gap).alias("deviation"),
        pl.col("detailedlabel")
        .replace("(empty)", "")
        .unique()
        .sort()
        .str.join(" ")
        .alias("labels"),
    )
    multicast = pl.col("to").str.contains(r"^(ff|22[4-9]\.|23\d\.)")
    return (
        pairs.filter(pl.col("connections") >= beats)
        .with_columns(multicast.alias("multicast"))
        .sort("deviation", "from", "to", "port")
    )
