"""Reading, flattening and encoding, beside pandas.json_normalize with a scikit-learn
ColumnTransformer.

    python -m benchmarks.events

Both do the same work on the simulator's events, and that they do is checked. pandas has it easier:
it is told which columns are to be kept, of what kind they are, which of them hold lists, which
quantities take a logarithm and which ports are common. Ours finds that out."""

import contextlib
import io
import itertools
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder, RobustScaler

from nbsrc.events.flatten import LEFT_OUT, flatten
from nbsrc.events.read import iter_events, read_events
from nbsrc.simulation import __main__ as simulate
from nbsrc.support.command import Parser
from nbsrc.tabular.columns import Column
from nbsrc.tabular.encoded import EncodedEvents
from nbsrc.tabular.encoder import EventEncoder
from nbsrc.tabular.expressions import CLIP

Laps = list[tuple[str, float]]  # what was done, and when it was done
DAY = 86_400_000  # ms


def lap(laps: Laps, name: str) -> None:
    laps.append((name, time.perf_counter()))


def ours(path: Path, laps: Laps) -> EncodedEvents:
    lap(laps, "start")
    events, _ = read_events(path)
    lap(laps, "read")
    rows = flatten(events)
    lap(laps, "flatten")
    encoder = EventEncoder().fit(rows)
    lap(laps, "fit")
    encoded = encoder.transform(rows)
    lap(laps, "transform")
    return encoded


def normalized(records: list[dict[str, Any]], lists: set[str], prefix: str = "") -> pd.DataFrame:
    """json_normalize, with each list summed up as `nbsrc.events.flatten` does it: length,
    distinct scalars, first object."""
    frame = pd.json_normalize(records).add_prefix(prefix)
    parts = [frame]
    for name in lists.intersection(frame.columns):
        values = frame.pop(name)
        there = values[values.notna()]
        objects = there[[bool(v) and isinstance(v[0], dict) for v in there]]
        summary = {f"{name}.length": there.map(len)}
        if len(objects):
            first = normalized([v[0] for v in objects], lists, f"{name}.first.")
            parts.append(first.set_index(objects.index).reindex(frame.index))
        else:
            summary[f"{name}.all"] = there.map(
                lambda v: ",".join(sorted({str(x) for x in v})) or None
            )
        parts.append(pd.DataFrame(summary, index=frame.index))
    return pd.concat(parts, axis=1)


def signed_log(x: pd.DataFrame) -> pd.DataFrame:
    return np.sign(x) * np.log1p(np.abs(x))


def clip(x: np.ndarray) -> np.ndarray:
    return np.clip(x, -CLIP, CLIP)


def angles(times: pd.DataFrame) -> np.ndarray:
    ms = times.to_numpy(float)
    hour, weekday = (ms % DAY) / DAY * math.tau, (ms // DAY + 3) % 7 / 7 * math.tau
    return np.nan_to_num(
        np.stack([np.sin(hour), np.cos(hour), np.sin(weekday), np.cos(weekday)], axis=2).reshape(
            len(ms), -1
        )
    )


def theirs(path: Path, told: list[Column], lists: set[str], laps: Laps) -> np.ndarray:
    """The quantities, times, categories and presences that `told` keeps, in the order of
    `names`."""
    lap(laps, "start")
    with path.open() as file:
        records = [
            {k: v for k, v in json.loads(line).items() if k not in LEFT_OUT} for line in file
        ]
    lap(laps, "json.loads")
    frame = normalized(records, lists)
    lap(laps, "json_normalize and lists")
    for c in told:
        if c.kind == "port":
            port, own = frame[c.column], pd.Series([float(v) for v in c.values[:-2]])
            frame[c.column] = port.where(
                port.isna() | port.isin(own),
                np.where(port >= 49152, -2, np.where(port >= 1024, -1, -3)),
            )
    scaled = (
        RobustScaler(),
        FunctionTransformer(clip),
        SimpleImputer(strategy="constant", fill_value=0, keep_empty_features=True),
    )
    ordinal = {
        "handle_unknown": "use_encoded_value",
        "unknown_value": -1,
        "encoded_missing_value": -2,
    }
    groups = grouped(told)
    steps = ColumnTransformer(
        [
            ("log", make_pipeline(FunctionTransformer(signed_log), *scaled), groups["log"]),
            ("quantity", make_pipeline(*scaled), groups["quantity"]),
            ("time", FunctionTransformer(angles), groups["time"]),
            ("few", OrdinalEncoder(**ordinal), groups["few"]),
            (
                "many",
                OrdinalEncoder(**ordinal, min_frequency=2, max_categories=257),
                groups["many"],
            ),
            ("present", MissingIndicator(features="all"), groups["present"]),
        ]
    )
    encoded = np.asarray(steps.fit_transform(frame))
    lap(laps, "ColumnTransformer")
    return encoded


def grouped(told: list[Column]) -> dict[str, list[str]]:
    """The columns by what is done to them."""
    groups: dict[str, list[str]] = {
        name: [] for name in ("log", "quantity", "time", "few", "many", "present")
    }
    for c in told:
        many = "rare values share index 1" in c.reason
        kind = (
            ("log" if c.log else "quantity")
            if c.kind == "quantity"
            else "time"
            if c.kind == "time"
            else "many"
            if many
            else "few"
        )
        groups[kind].append(c.column)
        if c.present:
            groups["present"].append(c.column)
    return groups


def check(mine: EncodedEvents, other: np.ndarray, told: list[Column]) -> int:
    """How many columns agree: quantities to 1e-4, categories but for their numbering. Raises
    AssertionError for too few."""
    groups, place, agreeing = grouped(told), 0, 0
    for kind in ("log", "quantity", "time", "few", "many", "present"):
        for name in groups[kind]:
            if kind in ("log", "quantity"):
                ok = np.allclose(
                    mine.numeric[:, mine.numeric_names.index(name)], other[:, place], atol=1e-4
                )
            elif kind == "time":
                at = mine.numeric_names.index(f"{name}.hour_sin")
                ok = np.allclose(
                    mine.numeric[:, at : at + 4], other[:, place : place + 4], atol=1e-4
                )
            else:
                at = mine.categorical_names.index(f"{name}.present" if kind == "present" else name)
                pairs = pd.DataFrame({"a": mine.categorical[:, at], "b": other[:, place]})
                ok = len(pairs.drop_duplicates()) == pairs["a"].nunique() == pairs["b"].nunique()
            place += 4 if kind == "time" else 1
            agreeing += ok
    assert place == other.shape[1] == mine.numeric.shape[1] + mine.categorical.shape[1]
    return agreeing


def stages(runs: list[Laps]) -> str:
    """The median seconds of each stage."""
    names = [name for name, _ in runs[0][1:]]
    taken = zip(
        *[[b - a for (_, a), (_, b) in itertools.pairwise(laps)] for laps in runs], strict=True
    )
    return ", ".join(
        f"{name} {statistics.median(seconds):.2f} s"
        for name, seconds in zip(names, taken, strict=True)
    )


def stream(path: Path, batch_size: int = 20_000) -> None:
    """Print what the batch iterator takes: time an event, and the peak memory of this process."""
    encoder = EventEncoder().fit(flatten(next(iter(iter_events(path, batch_size=batch_size)))[0]))
    start, rows = time.perf_counter(), 0
    for events, _ in iter_events(path, batch_size=batch_size):
        rows += len(encoder.transform(flatten(events)).time)
    speed = rows / (time.perf_counter() - start)
    status = Path(
        "/proc/self/status"
    ).read_text()  # Linux; getrusage would also cover the process that forked
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
    print(f"  {rows:>9,} events: {speed:>8,.0f} events/s, peak {peak:,.0f} MiB")


def main(n: int = 100_000, repeats: int = 3) -> None:
    """Print the ratio to pandas and scikit-learn, and the batch iterator's speed and memory at
    three sizes of file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stream" / "events.jsonl"
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            simulate.main(["--events", str(n), "--out", str(path.parent)])
        rows = flatten(read_events(path)[0])
        told = [c for c in EventEncoder().fit(rows).columns_ if c.decision == "kept"]
        lists = {name.removesuffix(".length") for name in rows.columns if name.endswith(".length")}
        print(
            f"{n:,} events, {path.stat().st_size / n:,.0f} bytes each, "
            f"{rows.width} flattened attributes, {len(told)} of them kept"
        )
        del rows
        mine, other = list[Laps](), list[Laps]()
        for _ in range(repeats):
            mine.append([])
            other.append([])
            result, reference = ours(path, mine[-1]), theirs(path, told, lists, other[-1])
        agreeing = check(result, reference, told)
        assert agreeing >= 0.9 * len(told), f"only {agreeing} of {len(told)} columns agree"
        pairs = [(a[-1][1] - a[0][1], b[-1][1] - b[0][1]) for a, b in zip(mine, other, strict=True)]
        took = [statistics.median(side) for side in zip(*pairs, strict=True)]
        print(f"{agreeing} columns agree; the medians of {repeats} repeats side by side:")
        print(f"  nbsrc: {took[0]:.2f} s ({stages(mine)})")
        print(f"  pandas and scikit-learn: {took[1]:.2f} s ({stages(other)})")
        print(f"  {statistics.median(b / a for a, b in pairs):.1f} times as fast")
        print("batch iterator, each in a process of its own:")
        for times in (1, 3, 10):
            bigger = Path(folder) / "bigger.jsonl"
            bigger.write_bytes(path.read_bytes() * times)
            subprocess.run([sys.executable, "-m", "benchmarks.events", str(bigger)], check=True)


if __name__ == "__main__":
    parser = Parser(prog="python -m benchmarks.events", description=__doc__.split("\n\n")[0])
    parser.add_argument("file", type=Path, nargs="?", metavar="FILE",
                        help="only measure the batch iterator, on this file")  # fmt: skip
    if (file := parser.parse_args().file) is not None:
        stream(file)
    else:
        main()
