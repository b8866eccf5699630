"""Encoding: what becomes of a column, told and repeatable, for any flattened events."""

import hashlib
import os
import subprocess
import sys
import tempfile
import warnings
from dataclasses import FrozenInstanceError

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from nbsrc.events.flatten import flatten, flattened
from nbsrc.simulation.stream import simulate_events
from nbsrc.support.tensors import read_tensors, write_tensors
from nbsrc.tabular import encoder as encoder_module
from nbsrc.tabular.encoded import EncodedEvents, rows_of
from nbsrc.tabular.encoder import EventEncoder

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(
        [
            "",
            "443",
            443,
            "2024-05-01T10:00:00Z",
            1_700_000_000_000,
            0,
            "nan",
            "inf",
            "-1e999",
            "10.0.0.1",
        ]
    )
)
names = st.sampled_from(
    [
        "time",
        "traffic.bytes",
        "src_endpoint.port",
        "class_uid",
        "actor.user.name",
        "start_time",
        "x",
        "y.z",
        "count",
        "tags.all",
    ]
)


TYPES = [
    pl.String,
    pl.Int64,
    pl.Float64,
    pl.Boolean,
    pl.Null,
    pl.Datetime("us"),
    pl.Duration("ms"),
    pl.Date,
    pl.Time,
    pl.Binary,
    pl.UInt8,
    pl.Decimal(38, 3),
]


@st.composite
def frames(draw):
    height = draw(st.integers(0, 8))
    frame = pl.DataFrame(height=height)
    for name in draw(st.lists(names, unique=True, max_size=6)):
        dtype = draw(st.sampled_from(TYPES))
        values = draw(st.lists(scalars, min_size=height, max_size=height))
        texts = pl.Series(name, [None if v is None else str(v) for v in values], dtype=pl.String)
        if dtype not in (pl.String, pl.Binary):
            texts = texts.cast(pl.Float64, strict=False)
        if dtype == pl.Decimal:  # Polars cannot make one of more digits, not even null
            texts = texts.clip(-1e30, 1e30)
        if dtype in (pl.Datetime, pl.Duration, pl.Date, pl.Time):
            texts = texts.cast(pl.Int32 if dtype == pl.Date else pl.Int64, strict=False)
        frame = (
            frame.with_columns(texts.cast(dtype, strict=False))
            if dtype != pl.Null
            else frame.with_columns(pl.Series(name, [None] * height))
        )
    return frame


@pytest.fixture(scope="module")
def rows():
    return flatten(pl.DataFrame(simulate_events(2_000, seed=1)[0], infer_schema_length=None))


@pytest.fixture(scope="module")
def encoder(rows):
    return EventEncoder().fit(rows)


def same(a: EncodedEvents, b: EncodedEvents) -> bool:
    arrays = all(
        np.array_equal(getattr(a, k), getattr(b, k)) and getattr(a, k).dtype == getattr(b, k).dtype
        for k in ("numeric", "categorical", "time")
    )
    return arrays and all(
        getattr(a, k) == getattr(b, k)
        for k in ("cardinalities", "numeric_names", "categorical_names")
    )


def sound(encoded: EncodedEvents, height: int) -> bool:
    """What every user of the arrays relies on."""
    assert (
        encoded.numeric.dtype == np.float32
        and encoded.categorical.dtype == np.int64
        and encoded.time.dtype == np.int64
    )
    assert encoded.numeric.shape == (height, len(encoded.numeric_names)) and encoded.time.shape == (
        height,
    )
    assert encoded.categorical.shape == (height, len(encoded.categorical_names)) and len(
        encoded.cardinalities
    ) == len(encoded.categorical_names)
    assert np.isfinite(encoded.numeric).all() and (np.abs(encoded.numeric) <= 10).all()
    return bool(
        (encoded.categorical >= 0).all()
        and (encoded.categorical < np.array(encoded.cardinalities, dtype=np.int64)).all()
    )


def one(values, name="x", **options):
    """The encoder and encoded form of a frame of one column."""
    frame = pl.DataFrame({name: values}, strict=False)
    encoder = EventEncoder(**options).fit(frame)
    return encoder, encoder.transform(frame), encoder.describe().row(0, named=True)


def test_every_column_is_accounted_for(rows, encoder):
    told = encoder.describe()
    assert told["column"].to_list() == sorted(rows.columns)
    assert set(told["decision"]) == {"kept", "dropped"} and told["reason"].str.len_chars().min() > 0
    encoded = encoder.transform(rows)
    assert sound(encoded, len(rows))
    assert list(encoder.get_feature_names_out()) == [
        *encoded.numeric_names,
        *encoded.categorical_names,
    ]
    measures = set(
        told.filter(pl.col("kind").is_in(["quantity", "time"]), decision="kept")["column"]
    )
    assert {
        n.removesuffix(".present") for n in encoded.categorical_names if n.endswith(".present")
    } <= measures
    assert not any(c.present for c in encoder.columns_ if c.column not in measures)
    cards = dict(
        told.filter(pl.col("cardinality").is_not_null()).select("column", "cardinality").iter_rows()
    )
    assert all(
        cards.get(n, 3) == c
        for n, c in zip(encoded.categorical_names, encoded.cardinalities, strict=True)
    )


@pytest.mark.parametrize(
    ("column", "kind", "decision"),
    [
        ("class_uid", "category", "kept"),
        ("severity_id", "category", "kept"),
        ("is_mfa", "category", "kept"),
        ("api.operation", "category", "kept"),
        ("src_endpoint.ip", "category", "kept"),
        ("http_response.code", "category", "kept"),
        ("connection_info.tcp_flags", "category", "kept"),
        ("traffic.bytes", "quantity", "kept"),
        ("duration", "quantity", "kept"),
        ("http_response.latency", "quantity", "kept"),
        ("resources.length", "quantity", "kept"),
        ("time", "time", "kept"),
        ("metadata.logged_time", "time", "dropped"),
        ("dst_endpoint.port", "port", "kept"),
        ("metadata.uid", "category", "dropped"),
        ("metadata.correlation_uid", "category", "dropped"),
        ("process.cmd_line", "category", "dropped"),
        ("class_name", "category", "dropped"),
        ("type_name", "category", "dropped"),
        ("severity", "category", "dropped"),
    ],
)
def test_columns_of_ocsf_become_what_they_are(column, kind, decision, encoder):
    told = encoder.describe().filter(column=column).row(0, named=True)
    assert (told["kind"], told["decision"]) == (kind, decision), told["reason"]


def test_missing_and_unseen_are_two_things():
    encoder, encoded, _ = one(["a", "b", "a", None, ""])
    assert encoded.categorical[:, 0].tolist() == [2, 3, 2, 0, 0]
    assert encoder.transform(pl.DataFrame({"x": ["z", None, "b"]})).categorical[:, 0].tolist() == [
        1,
        0,
        3,
    ]


def test_a_number_is_the_same_category_whatever_its_type():
    encoder, encoded, _ = one([6, 17, 6])
    for other in ([6.0, 17.0, 6.0], ["6", "17", "6"]):
        assert (
            encoder.transform(pl.DataFrame({"x": other})).categorical.tolist()
            == encoded.categorical.tolist()
        )
    assert one([True, False])[0].transform(pl.DataFrame({"x": ["true", "false"]})).categorical[
        :, 0
    ].tolist() == [3, 2]


def test_quantities_are_scaled_by_median_and_quartiles_and_keep_their_missingness():
    encoder, encoded, told = one([1.0, 2.0, 3.0, 4.0, 5.0, None])
    assert told["kind"] == "quantity" and told["scale"] == 2.0
    assert encoded.numeric[:, 0].tolist() == [-1.0, -0.5, 0.0, 0.5, 1.0, 0.0]
    assert encoded.categorical_names == ("x.present",) and encoded.categorical[:, 0].tolist() == [
        2
    ] * 5 + [0]
    far = encoder.transform(pl.DataFrame({"x": [1e300, -1e308, float("nan"), float("inf")]}))
    assert far.numeric[:, 0].tolist() == [10, -10, 0, 0] and far.categorical[:, 0].tolist() == [
        2,
        2,
        0,
        0,
    ]
    for odd in ([True, None], ["true", ""]):  # no number, whatever the type that its batch gives it
        assert encoder.transform(pl.DataFrame({"x": odd})).categorical[:, 0].tolist() == [0, 0]


def test_a_heavy_tail_is_logged_and_an_even_spread_is_not():
    rng = np.random.default_rng(0)
    assert "log(1 + x)" in one(rng.lognormal(5, 3, 500))[2]["reason"]
    assert "log" not in one(rng.normal(100, 10, 500))[2]["reason"]


def test_columns_that_are_missing_together_say_so_once():
    frame = pl.DataFrame(
        {
            "class_uid": [4001, 4001, 3002, 3002],
            "bytes_in": [1.5, 2, None, None],
            "bytes_out": [4.5, 9, None, None],
            "z": [1.5, None, 2, 3],
        }
    )
    assert EventEncoder().fit_transform(frame).categorical_names == (
        "class_uid",
        "bytes_in.present",
        "z.present",
    )


def test_times_become_angles_in_utc():
    midnight_monday = 1_704_067_200_000  # 2024-01-01T00:00:00Z
    moments = [
        midnight_monday,
        midnight_monday + 6 * 3_600_000,
        midnight_monday + 3 * 86_400_000,
        None,
    ]
    encoder, encoded, _ = one(moments, "time")
    assert encoded.numeric_names == (
        "time.hour_sin",
        "time.hour_cos",
        "time.weekday_sin",
        "time.weekday_cos",
    )
    angle = 2 * np.pi * 3 / 7
    np.testing.assert_allclose(
        encoded.numeric[:3],
        [[0, 1, 0, 1], [1, 0, 0, 1], [0, 1, np.sin(angle), np.cos(angle)]],
        atol=1e-6,
    )
    assert encoded.numeric[3].tolist() == [0, 0, 0, 0] and encoded.time.tolist() == [
        *moments[:3],
        0,
    ]
    texts = [
        "2024-01-01T00:00:00Z",
        "2024-01-01T07:00:00+01:00",
        "2024/01/04T00:00:00.000",
        "",
        "no time",
    ]
    assert encoder.transform(pl.DataFrame({"time": texts})).time.tolist() == [*moments[:3], 0, 0]
    for unit in (1e-3, 1e3, 1e6):
        assert encoder.transform(
            pl.DataFrame({"time": [int(midnight_monday * unit)]})
        ).time.tolist() == [midnight_monday]
    dates = pl.DataFrame({"time": pl.Series([midnight_monday]).cast(pl.Datetime("ms"))})
    assert encoder.transform(dates).time.tolist() == [midnight_monday]


def test_time_falls_back_to_the_start_of_the_event():
    frame = pl.DataFrame(
        {"time": [None, 1_700_000_000_000], "start_time": [1_600_000_000_000, 1_600_000_000_001]}
    )
    assert EventEncoder().fit_transform(frame).time.tolist() == [
        1_600_000_000_000,
        1_700_000_000_000,
    ]


def test_without_ocsfs_times_the_only_time_is_the_events_own():
    seen = pl.DataFrame(
        {"seen_at": [1_700_000_000_000, None, 1_800_000_000_000], "code": [1, 2, 1]}
    )
    encoder = EventEncoder().fit(seen)
    assert encoder.transform(seen).time.tolist() == [1_700_000_000_000, 0, 1_800_000_000_000]
    assert encoder.transform(seen.select("code")).time.tolist() == [0, 0, 0]
    two = seen.with_columns(
        pl.col("seen_at").add(10**10).alias("left_at")
    )  # which of the two is not known
    assert EventEncoder().fit_transform(two).time.tolist() == [0, 0, 0]
    near = seen.with_columns(told_at=pl.col("seen_at") + 5)  # which is dropped
    assert EventEncoder().fit_transform(near).time.tolist() == encoder.transform(seen).time.tolist()
    both = seen.with_columns(pl.Series("time", [1, 2, 3]) * 10**12)
    assert EventEncoder().fit_transform(both).time.tolist() == [10**12, 2 * 10**12, 3 * 10**12]
    # OCSF's next one counts where the first is missing, although it was dropped for being near.
    ocsf = both.select("time", start_time=pl.col("time") + 5)
    without = ocsf.with_columns(pl.Series("time", [10**12, None, 3 * 10**12]))
    times = EventEncoder().fit(ocsf).transform(without).time.tolist()
    assert times == [10**12, 2 * 10**12 + 5, 3 * 10**12]


@pytest.mark.parametrize(
    ("own", "other"),
    [
        ("timestamp", "flow.start_time"),  # Suricata's
        ("@timestamp", "event.created_at"),
        ("eventTime", "context.creationDate"),
        ("result._time", "indexed_at"),
        ("ts", "a_date"),
    ],
)
def test_of_several_times_the_one_whose_name_says_so_is_the_events_own(own, other):
    moments = [1_700_000_000_000 + i * 10**7 for i in range(30)]
    later = [None, *(t + 10**8 for t in moments[1:])]
    assert (
        EventEncoder().fit_transform(pl.DataFrame({own: moments, other: later})).time.tolist()
        == moments
    )
    mixed = pl.DataFrame({own: [*moments, None], "other.timestamp": [*[None] * 30, 10**12]})
    assert EventEncoder().fit_transform(mixed).time.tolist() == [*moments, 10**12]
    near = pl.DataFrame({own: moments, "a_received_at": [t + 5 for t in moments]})
    assert EventEncoder().fit_transform(near).time.tolist() == moments


def test_of_several_times_named_so_the_one_least_often_missing_then_the_outermost_counts():
    moments = [1_700_000_000_000 + i * 10**7 for i in range(30)]
    later = [t + 10**8 for t in moments]
    for own, other, values in (
        ("b.timestamp", "a.timestamp", [None, *later[1:]]),
        ("timestamp", "a.timestamp", later),
        ("b.ts", "a.b.ts", later),
        ("a.ts", "b.ts", later),
    ):
        rows = pl.DataFrame({other: values, own: moments})
        assert EventEncoder().fit_transform(rows).time.tolist() == moments


@pytest.mark.parametrize(
    ("days", "learned"),
    [(0.3, []), (1, ["hour_sin", "hour_cos"]), (5, ["hour_sin", "hour_cos"]), (7, "both")],
)
def test_of_rows_of_less_than_a_day_or_week_no_hour_or_weekday_is_learned(days, learned, tmp_path):
    moments = [1_700_000_000_000 + int(i * days * 864_000) for i in range(100)]
    moments[0] = 1  # a clock that was not set yet
    dates = pl.Series(moments).cast(pl.Datetime("ms"))
    rows = pl.DataFrame({"timestamp": dates, "code": [i % 2 for i in range(100)]})
    encoder = EventEncoder().fit(rows, whole_cycles=True)
    names = list(EventEncoder().fit(rows).get_feature_names_out()) if learned == "both" else [
        *(f"timestamp.{part}" for part in learned), "code"
    ]  # fmt: skip
    assert list(encoder.get_feature_names_out()) == names
    encoder.save(tmp_path / "encoder")
    encoded = EventEncoder.load(tmp_path / "encoder").transform(rows)
    assert encoded.numeric.shape == (100, len(names) - 1)
    assert encoded.time.tolist() == moments  # for order, all the same
    issued = rows.with_columns(issued_at=pl.Series([moments[1], None] * 50).cast(pl.Datetime("ms")))
    angles = [
        n
        for n in EventEncoder().fit(issued, whole_cycles=True).get_feature_names_out()
        if "issued" in n
    ]
    assert len(angles) == 5  # as it comes again, with whether it is there


def test_ports_are_categories_and_the_ephemeral_ones_share_a_range():
    encoder, encoded, told = one(
        [443] * 9 + [22, 8443, 8443, 8443, 8443, 8443, 50_123, 3306, None], "dst_endpoint.port"
    )
    assert told["kind"] == "port"
    assert encoded.categorical[:, 0].tolist() == [2] * 9 + [4] + [3] * 5 + [6, 5, 0]
    assert encoder.transform(
        pl.DataFrame({"dst_endpoint.port": ["443", "60000", "5000", "23", "x", "-1", "70000", ""]})
    ).categorical[:, 0].tolist() == [2, 6, 5, 1, 1, 1, 1, 0]


@pytest.mark.parametrize(
    ("values", "dropped", "why"),
    [
        ([f"{i:032x}" for i in range(100)], True, "distinct"),
        ([f"{i // 8:032x}" for i in range(400)], True, "ids or hashes"),
        ([f"{i // 8:02}" for i in range(400)], False, ""),
        ([f"user {i % 10}" for i in range(400)], False, ""),
        (list(range(10**16, 10**16 + 900, 9)), True, "counted up"),
        ([7] * 30, True, "constant"),
        ([None] * 30, True, "no value"),
    ],
)
def test_identifiers_are_dropped_by_their_values_and_not_by_their_name(values, dropped, why):
    told = one(values, "anything")[2]
    assert (told["decision"] == "dropped") == dropped and why in told["reason"]


def test_addresses_and_users_are_capped_and_not_dropped():
    values = [f"10.0.{i // 2 % 200}.{i // 2 // 200}" for i in range(1000)]
    _, encoded, told = one(values, "src_endpoint.ip", max_categories=50)
    assert (told["decision"], told["cardinality"]) == (
        "kept",
        52,
    ) and "rare values share index 1" in told["reason"]
    assert (encoded.categorical == 1).mean() == 0.9


def test_an_id_and_its_caption_are_kept_once():
    frame = pl.DataFrame(
        {
            "activity_name": ["Logon", "Logoff", "Logon", None],
            "activity_id": [1, 2, 1, None],
            "other": ["a", "b", "b", None],
        }
    )
    told = EventEncoder().fit(frame).describe()
    assert told["decision"].to_list() == ["kept", "dropped", "kept"]
    assert "one-to-one with activity_id of the same object" in told["reason"][1]


def test_what_is_one_to_one_by_chance_is_kept():
    frame = pl.DataFrame(
        {
            "actor.user.name": ["anaya", "ben", "anaya", "cleo"],
            "device.hostname": ["pc-1", "pc-2", "pc-1", "pc-3"],  # each user has one host
            "actor.user.full_name": ["A", "B", "A", "C"],
            "actor.user.domain": ["d1", "d2", None, "d3"],
            "user.name": ["anaya", "ben", "anaya", "cleo"],
            "traffic.bytes": [1, 2, 5, 9],
            "traffic.bits": [8, 16, 40, 72],
            "bytes": [1.0, 2.0, 5.0, 9.0],
        }
    )
    encoder = EventEncoder().fit(frame)
    dropped = {
        c.column: c.reason.rpartition("; ")[2] for c in encoder.columns_ if c.decision == "dropped"
    }
    assert dropped == {
        "actor.user.name": "the same values as user.name",
        "actor.user.full_name": "one-to-one with actor.user.name of the same object",
        "traffic.bytes": "the same values as bytes",
    }
    known = encoder.transform(frame.with_columns(pl.lit("pc-3").alias("device.hostname")))
    assert known.categorical[0, known.categorical_names.index("device.hostname")] > 1


def test_an_excluded_field_is_left_out_with_all_below_it(rows):
    encoder = EventEncoder(exclude=("actor", "time")).fit(rows)
    assert not [n for n in encoder.get_feature_names_out() if n.startswith(("actor.", "time."))]
    assert encoder.transform(rows).time.min() > 0  # for the split by time, not a feature
    assert clone(encoder).get_params() == {"exclude": ("actor", "time"), "max_categories": 256}


def test_other_columns_than_at_fit_transform_all_the_same(rows, encoder):
    frame = rows.select("time", "class_uid")
    encoded = encoder.transform(frame)
    assert sound(encoded, len(rows))
    place = encoded.categorical_names.index("api.operation")
    assert (encoded.categorical[:, place] == 0).all()
    assert (encoded.numeric[:, encoded.numeric_names.index("traffic.bytes")] == 0).all()


def test_columns_unknown_at_fit_are_named_once():
    encoder = EventEncoder(exclude=("x",)).fit(pl.DataFrame({"a": [1, 2], "x.y": [1, 2]}))
    frame = pl.DataFrame({name: [1] for name in ("a", "c", "b", "x", "x.z", "xy")})
    with pytest.warns(UserWarning) as caught:
        encoder.transform(frame)
    assert [str(w.message) for w in caught] == ["columns unknown at fit are ignored: b, c, xy"]
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # said once
        encoder.transform(frame)
    for more, said in ((2, ""), (3, " and 1 more")):
        names = [f"n{more}{i}" for i in range(3 + more)]
        with pytest.warns(UserWarning, match=f": {', '.join(names[:5])}{said}$"):
            encoder.transform(frame.select(pl.lit(1).alias(name) for name in names))


def test_what_was_decided_is_described_column_by_column(recwarn):
    frame = pl.DataFrame(
        {
            "amount": [1.0, 2.0, 3.0, 4.0, None],
            "constant": [2.5] * 5,
            "seen_time": [1_700_000_000_000 + i for i in range(5)],
            "word": [*"abcab"],
        }
    )
    encoder = EventEncoder()
    assert encoder.fit(frame) is encoder
    told = encoder.describe()
    assert dict(told.schema) == {
        "column": pl.String,
        "kind": pl.String,
        "decision": pl.String,
        "reason": pl.String,
        "cardinality": pl.Int64,
        "scale": pl.Float64,
        "missing": pl.Float64,
    }
    assert EventEncoder().fit(pl.DataFrame()).describe().schema == told.schema
    fraction = "values: numbers with a fraction"
    assert told.rows() == [
        ("amount", "quantity", "kept", fraction, None, 1.0, 0.2),
        ("constant", "quantity", "dropped", f"{fraction}; constant", None, None, 0.0),
        ("seen_time", "time", "kept", "values: milliseconds of this century", None, None, 0.0),
        ("word", "category", "kept", "values: texts", 5, None, 0.0),
    ]
    encoded = encoder.transform(frame)
    assert encoded.categorical_names == ("word", "amount.present")
    assert encoded.cardinalities == (5, 3)
    assert encoder.get_feature_names_out().dtype == object  # as scikit-learn's
    assert not recwarn.list
    assert encoded.categorical.tolist() == [[2, 2], [3, 2], [4, 2], [2, 2], [3, 0]]
    encoded.time[0] = 0  # the arrays are the caller's


@pytest.mark.parametrize(
    "frame",
    [
        pl.DataFrame(),
        pl.DataFrame({"x": []}),
        pl.DataFrame({"x": [None, None]}),
        pl.DataFrame({"x": [3, 3]}),
        pl.DataFrame({"x": ["a"]}),
    ],
)
def test_frames_that_say_nothing_give_arrays_without_columns(frame, rows, encoder):
    assert EventEncoder().fit_transform(frame).numeric.shape == (frame.height, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert sound(encoder.transform(frame), frame.height)
        assert EventEncoder().fit(frame).transform(rows).categorical.shape == (len(rows), 0)


def test_bad_use_is_refused_with_a_reason(rows):
    with pytest.raises(NotFittedError):
        EventEncoder().transform(rows)
    for method in ("describe", "get_feature_names_out"):
        with pytest.raises(NotFittedError):
            getattr(EventEncoder(), method)()
    with pytest.raises(NotFittedError):
        EventEncoder().save("nowhere")
    nested = pl.DataFrame({"user": [{"name": "a"}]})
    for refuse in (EventEncoder().fit, EventEncoder().fit(rows[:9]).transform):
        with pytest.raises(
            ValueError, match=r"^column .user. is nested .*: flatten the events first$"
        ):
            refuse(nested)
    with pytest.raises(TypeError, match=r"a Polars DataFrame, not builtins.dict"):
        EventEncoder().fit({"a": [1]})
    for name in ("*", "^a$"):
        with pytest.raises(ValueError, match=r"takes the column's name .* for a pattern"):
            EventEncoder().fit(pl.DataFrame({name: ["a"]}))
    for name in ("a*", "^a", "a$"):
        assert EventEncoder().fit(pl.DataFrame({name: ["a"]})).columns_[0].column == name
    with pytest.raises(ValueError, match=r"^max_categories must be positive, however: 0$"):
        EventEncoder(max_categories=0).fit(rows)
    assert EventEncoder(max_categories=1).fit(rows[:9])


def test_neither_the_order_of_rows_nor_of_columns_nor_the_batches_matter(
    rows, encoder, monkeypatch
):
    order = np.random.default_rng(0).permutation(len(rows))
    shuffled = rows[order].select(sorted(rows.columns, reverse=True))
    other = EventEncoder().fit(shuffled)
    assert other.describe().equals(encoder.describe())
    whole, mixed = encoder.transform(rows), other.transform(shuffled)
    assert np.array_equal(whole.categorical[order], mixed.categorical) and np.array_equal(
        whole.numeric[order], mixed.numeric
    )
    parts = [encoder.transform(rows[start : start + 333]) for start in range(0, len(rows), 333)]
    assert np.array_equal(np.concatenate([p.categorical for p in parts]), whole.categorical)
    assert np.array_equal(np.concatenate([p.numeric for p in parts]), whole.numeric)
    assert np.array_equal(np.concatenate([p.time for p in parts]), whole.time)
    monkeypatch.setattr(encoder_module, "AT_ONCE", 300)  # rows that one thread encodes
    assert same(encoder.transform(rows), whole)


def test_what_is_transformed_later_changes_nothing_that_was_fitted(rows):
    encoder = EventEncoder().fit(rows[:1000])
    before, first = encoder.describe(), encoder.transform(rows[:1000])
    encoder.transform(rows[1000:])
    assert encoder.describe().equals(before) and same(encoder.transform(rows[:1000]), first)
    extreme = rows[1000:].with_columns(
        pl.lit(10**18).alias("traffic.bytes"), pl.lit("nobody").alias("actor.user.name")
    )
    assert same(
        EventEncoder().fit(pl.concat([rows[:1000], extreme])[:1000]).transform(rows[:1000]), first
    )


def test_saved_and_loaded_encodes_the_same(rows, encoder, tmp_path):
    path = tmp_path / "made" / "here" / "encoder.safetensors"
    for _ in range(2):
        encoder.save(path)
    assert [p.name for p in path.parent.iterdir()] == ["encoder.safetensors"]
    loaded = EventEncoder.load(path)
    assert loaded.columns_ == encoder.columns_ and loaded.get_params() == encoder.get_params()
    assert same(loaded.transform(rows), encoder.transform(rows))
    EventEncoder(exclude=("a", "b"), max_categories=7).fit(rows[:9]).save(path)
    assert EventEncoder.load(path).get_params() == {"exclude": ("a", "b"), "max_categories": 7}


def test_a_damaged_or_newer_saved_encoder_is_refused(encoder, tmp_path):
    path = tmp_path / "encoder"
    with pytest.raises(FileNotFoundError, match=r"no saved encoder: .*encoder is not there"):
        EventEncoder.load(path)
    encoder.save(path)
    whole = path.read_bytes()
    tensors, about = read_tensors(path)
    told = [
        whole.replace(old, new, 1) for old, new in ((b"quantity", b"category"), (b"kept", b"drop"))
    ]
    assert whole not in told
    for bad in (
        *told,
        whole[:-1],
        whole[: len(whole) // 2],
        b"",
        whole[:-1] + bytes([whole[-1] ^ 1]),
    ):
        path.write_bytes(bad)
        with pytest.raises(ValueError, match=r"the encoder in .* cannot be loaded: .* is damaged"):
            EventEncoder.load(path)
    others = [[], {}, *({k: v for k, v in about.items() if k != gone} for gone in about)]
    for other in (*others, about | {"columns": about["columns"][1:]}, about | {"columns": [[]]}):
        write_tensors(path, tensors, other)
        with pytest.raises(ValueError, match=r"the encoder in .* cannot be loaded"):
            EventEncoder.load(path)
    write_tensors(path, tensors, about | {"format": 99})
    with pytest.raises(ValueError, match="its format is 99, and this version of nbsrc reads 2"):
        EventEncoder.load(path)
    with pytest.raises(ValueError, match="cannot be loaded"):
        EventEncoder.load(tmp_path)  # a folder


def test_equal_events_are_encoded_equally_in_another_process(rows, encoder, tmp_path):
    rows.write_parquet(tmp_path / "rows")
    code = (
        "import sys, hashlib, polars as pl; from nbsrc.tabular.encoder import EventEncoder\n"
        "e = EventEncoder().fit_transform(pl.read_parquet(sys.argv[1]))\n"
        "print(hashlib.sha256(e.numeric.tobytes() + e.categorical.tobytes()).hexdigest())"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "rows"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "7"},
    )
    here = encoder.transform(rows)
    assert (
        out.stdout.strip()
        == hashlib.sha256(here.numeric.tobytes() + here.categorical.tobytes()).hexdigest()
    )


@settings(max_examples=200, deadline=None)
@given(frames(), frames())
def test_transform_never_raises_and_save_load_batches_and_order_change_nothing(fitted, other):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        encoder = EventEncoder().fit(fitted)
        assert sound(encoder.transform(fitted), fitted.height)
        whole = encoder.transform(other)
        assert sound(whole, other.height)
        backward = EventEncoder().fit(fitted.reverse())
        assert backward.describe().equals(encoder.describe()) and same(
            backward.transform(other), whole
        )
        for row in range(other.height):
            single = encoder.transform(other[row])
            assert np.array_equal(single.numeric[0], whole.numeric[row]) and np.array_equal(
                single.categorical[0], whole.categorical[row]
            )
        with tempfile.TemporaryDirectory() as folder:
            encoder.save(f"{folder}/encoder")
            assert same(EventEncoder.load(f"{folder}/encoder").transform(other), whole)


def test_events_are_chosen_by_their_rows_and_never_changed():
    numeric, categorical = np.arange(6.0).reshape(3, 2), np.arange(6).reshape(3, 2)
    events = EncodedEvents(numeric, categorical, (6, 7), ("a", "b"), ("c", "d"), np.arange(3))
    some = rows_of(events, np.array([2, 0]))
    assert some.numeric.tolist() == [[4, 5], [0, 1]]
    assert some.categorical.tolist() == [[4, 5], [0, 1]] and some.time.tolist() == [2, 0]
    assert some.cardinalities == (6, 7) and some.numbers == events.numbers == ()
    with pytest.raises(FrozenInstanceError):
        events.time = None


def test_describe_says_how_files_write_a_column_that_has_another_name_there():
    events = pl.DataFrame({"user_name": ["a", "b"] * 9, "status": ["x", "y", "z"] * 6})
    rows, written = flattened(events)
    told = EventEncoder().fit(rows, written=written).describe()
    assert told["column", "reason"].rows() == [
        ("status", "schema: string_t"),
        ("user.name", "schema: username_t; written as user_name"),
    ]


def test_whole_numbers_that_nothing_is_known_of_tell_which_number_an_index_is():
    """A detector can see their order; of enumerations, ids and texts there is none."""
    rows = pl.DataFrame({
        "level": [3, -1, 3, 20, None],
        "severity_id": [1, 2, 1, 4, 1],
        "word": ["1", "2", "1", "3", "1"],
        "user_id": [1, 2, 1, 3, 1],
        "size.bytes": [10, 20, None, 40, 50],
    })  # fmt: skip
    encoder = EventEncoder().fit(rows)
    encoded = encoder.transform(rows)
    numbers = dict(zip(encoded.categorical_names, encoded.numbers, strict=True))
    assert {name for name, own in numbers.items() if own is not None} == {"level"}
    place = encoded.categorical_names.index("level")
    assert len(numbers["level"]) == encoded.cardinalities[place]
    told = numbers["level"][encoded.categorical[:, place]]
    np.testing.assert_array_equal(told, [3, -1, 3, 20, np.nan])
    assert EventEncoder().fit(rows.drop("level")).transform(rows.drop("level")).numbers == ()
