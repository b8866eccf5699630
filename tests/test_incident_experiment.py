"""The table of incidents found can be trusted: no label reaches what is fitted, every method is
judged on the same incidents, and a run that stopped goes on."""

import math
from functools import partial

import polars as pl
import pytest

from nbsrc.incidents.context import ContextSurprise
from nbsrc.incidents.entities import PAIR
from nbsrc.incidents.experiment import METHODS, incident_experiment, main, stream
from nbsrc.incidents.fields import rule_fields
from nbsrc.incidents.measure import BUDGETS
from nbsrc.incidents.rules import Rules
from nbsrc.support.results import read_result


def test_every_method_is_judged_on_the_same_incidents_and_a_run_goes_on(tmp_path, monkeypatch):
    few = partial(ContextSurprise, steps=5)
    monkeypatch.setattr("nbsrc.incidents.finder.ContextSurprise", few)
    table = incident_experiment([3], pasts=["clean"], events=4000, epochs=0)
    assert set(table["method"]) == set(METHODS)
    for method in METHODS:
        own = table.filter(method=method)
        assert own.height == len(BUDGETS) * own.select("scenario", "instance").unique().height
        by_budget = own.group_by("budget").agg(pl.sum("found")).sort("budget")["found"]
        assert by_budget.is_sorted()  # more alerts never find less

    asked = []

    def instead(seeds, *, pasts, epochs):
        asked.extend(seeds)
        return table.with_columns(seed=pl.lit(seeds[0]))

    monkeypatch.setattr("nbsrc.incidents.experiment.incident_experiment", instead)
    out = tmp_path / "incidents.json"
    for seeds in ("4 5", "4 5 6"):
        arguments = f"--seeds {seeds} --pasts clean --epochs 0 --out {out}"
        assert main(arguments.split()) == 0
    assert asked == [4, 5, 6]
    rows, about = read_result(out)
    assert rows.height == 3 * table.height and "--seeds 4 5 6" in about["command"]


def test_a_clean_past_has_no_incident_and_a_contaminated_one_repeats_them():
    clean, new, incidents = stream(4000, seed=3)
    dirty, _, _ = stream(4000, seed=3, past="contaminated")
    assert new["metadata.uid"].is_in(clean["metadata.uid"].implode()).sum() == 0
    extra = dirty.filter(~pl.col("metadata.uid").is_in(clean["metadata.uid"].implode()))
    assert 0.01 < extra.height / dirty.height < 0.02
    assert incidents.height and incidents["row"].max() < new.height


def test_rules_find_a_spray_from_one_address_and_name_its_events():
    spray = pl.DataFrame(
        {
            "time": [60_000 * i for i in range(1, 21)], "class_uid": [3002] * 20,
            "user.name": [f"u{i}" for i in range(20)], "status_id": [2] * 5 + [1] * 15,
            "src_endpoint.ip": ["10.6.6.6"] * 5 + [f"10.0.0.{i}" for i in range(15)],
        }
    )  # fmt: skip
    events = spray.select("time", rule_fields(spray).to_struct("rule")).with_row_index("row")
    rules = Rules().fit(events.tail(5))
    best = rules.alerts(events).row(0, named=True)
    assert best["value"] == "10.6.6.6" and best["rows"] == [0, 1, 2, 3, 4]
    assert best["kinds"] == ["accounts that fail from one address"]
    told = "5 accounts that fail from one address (address 10.6.6.6, 4 minutes); limit 3"
    assert best["reason"] == told
    assert best["score"] == pytest.approx(math.log(5 / 3))
    assert rules.alerts(events.drop("rule")).is_empty()  # of other events than OCSF's


def test_a_destination_that_the_past_had_is_not_new_to_a_rule_about_new_ones():
    flows = pl.DataFrame(
        {
            "time": [1 + 60_000 * i for i in range(4)], "class_uid": [4001] * 4,
            "src_endpoint.ip": ["10.0.0.1"] * 4, "dst_endpoint.ip": ["9.9.9.9"] * 4,
            "traffic.bytes_out": [2e8] * 4,
        }
    )  # fmt: skip
    events = flows.select("time", rule_fields(flows).to_struct("rule")).with_row_index("row")
    other = events.with_columns(pl.col("rule").struct.with_fields(pl.lit("a > b").alias(PAIR)))
    name = "bytes from one address to one destination"
    for past, raised in ((events.head(1), False), (other, True), (events.head(0), True)):
        kinds = Rules().fit(past).alerts(events)["kinds"].list.first()
        assert (name in kinds) == raised
