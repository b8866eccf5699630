"""What rules look at in OCSF events."""

import polars as pl

from nbsrc.events.text import as_text
from nbsrc.tabular.values import as_number


def rule_fields(rows: pl.DataFrame) -> pl.DataFrame:
    """What the rules look at in flattened OCSF events, by short names: a row an event."""

    schema = rows.schema

    def text(*names: str) -> pl.Expr:
        there = [as_text(name, schema[name]) for name in names if name in schema]
        return pl.coalesce(*there, pl.lit(None, pl.String))

    def number(name: str) -> pl.Expr:
        return as_number(name, schema[name]) if name in schema else pl.lit(None, pl.Float64)

    address, target = text("src_endpoint.ip"), text("dst_endpoint.ip")
    fields = rows.select(
        number("class_uid").cast(pl.Int64, strict=False).alias("class"),
        text("actor.user.name", "user.name").alias("user"),
        text("device.hostname").alias("host"),
        address.alias("address"),
        text("http_request.url.hostname", "dst_endpoint.hostname").alias("destination"),
        pl.format("{} > {}", address, target).alias("address > destination"),
        text("src_endpoint.location.city").alias("place"),
        (number("status_id") == 2).fill_null(False).alias("failed"),
        text("api.operation").alias("operation"),
        text("process.name").str.replace(r"\.\w+$", "").alias("program"),
        number("traffic.bytes_out").alias("bytes_out"),
        number("http_response.code").alias("code"),
    )
    return fields.cast({pl.String: pl.Categorical})
