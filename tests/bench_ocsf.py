"""Reading, flattening and encoding, beside pandas.json_normalize with a scikit-learn ColumnTransformer.

    python -m tests.bench_ocsf
"""

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder, RobustScaler

from nbsrc.ocsf import EventEncoder, flatten, iter_events, read_events

START = 1_760_000_000_000  # epoch ms
CLASSES = {3002: "Authentication", 6003: "API Activity", 4002: "HTTP Activity", 4001: "Network Activity", 1007: "Process Activity"}


def make_event(rng: random.Random, row: int) -> dict[str, Any]:
    """A nested event of one of five OCSF classes, for timing: of the right shape and size, with no behaviour in it."""
    uid = rng.choices(list(CLASSES), (2, 3, 3, 4, 2))[0]
    user, host = rng.randrange(400), rng.randrange(300)
    moment = START + row * 700 + rng.randrange(700)
    activity = rng.randrange(1, 6)

    def person(n: int) -> dict[str, Any]:
        return {
            "name": f"user{n}", "uid": f"u-{n:05}", "email_addr": f"user{n}@example.com", "type_id": 1, "type": "User",
            "domain": f"dept{n % 9}.example.com", "groups": [{"name": f"group{n % k}", "uid": f"g{n % k}"} for k in (5, 7)],
        }

    def endpoint(n: int, port: int) -> dict[str, Any]:
        return {
            "ip": f"10.{n % 7}.{n % 31}.{n % 251}", "port": port, "hostname": f"host-{n}.example.com", "uid": f"h-{n}",
            "type_id": n % 9, "zone": f"zone{n % 6}", "instance_uid": f"i-{n:08x}", "subnet_uid": f"subnet-{n % 31}",
            "location": {"country": "US" if n % 5 else "DE", "city": f"City {n % 20}", "region": f"R{n % 12}"},
        }

    event: dict[str, Any] = {
        "class_uid": uid, "class_name": CLASSES[uid], "category_uid": uid // 1000, "activity_id": activity,
        "activity_name": f"Activity {activity}", "type_uid": uid * 100 + activity, "severity_id": rng.choice((1, 1, 1, 2, 3)),
        "time": moment, "status_id": 1 + (rng.random() < 0.05), "timezone_offset": 0,
        "metadata": {
            "version": "1.3.0", "uid": f"{rng.getrandbits(128):032x}", "logged_time": moment + rng.randrange(3000),
            "product": {"name": f"product{uid}", "vendor_name": "Example", "version": "4.2", "feature": {"name": "audit"}},
            "profiles": ["cloud", "host"], "log_name": f"log-{uid}", "correlation_uid": f"{rng.getrandbits(64):016x}",
        },
        "cloud": {"provider": "AWS", "region": f"eu-west-{host % 3}", "account": {"uid": f"{host % 4:012}", "name": f"acct{host % 4}"}},
        "device": {**endpoint(host, 0), "os": {"name": f"os{host % 4}", "type_id": host % 4 * 100, "version": f"{host % 9}.1"}},
        "observables": [{"name": "actor.user.name", "type_id": 4, "value": f"user{user}"}],
        "unmapped": {"sensor": f"s{host % 17}", "raw": {"a": rng.randrange(10), "b": "x" * rng.randrange(60)}},
    }
    if rng.random() < 0.7:
        event["severity"], event["status"] = f"Severity {event['severity_id']}", f"Status {event['status_id']}"
    if uid in (3002, 6003, 1007):
        event["actor"] = {
            "user": person(user), "session": {"uid": f"{rng.getrandbits(64):016x}", "created_time": moment - rng.randrange(9_000_000)},
        }
    if uid != 1007:
        event["src_endpoint"] = endpoint(host, rng.randrange(32768, 61000))
        event["dst_endpoint"] = endpoint(rng.randrange(60), rng.choice((22, 53, 80, 443, 443, 8443, 5432)))
    if uid == 3002:
        event |= {"user": person(user), "is_mfa": rng.random() < 0.8, "logon_type_id": rng.choice((2, 3, 10)), "auth_protocol_id": rng.randrange(8)}
    if uid == 6003:
        service, code = rng.randrange(12), rng.choice((200, 200, 200, 403, 404))
        event["api"] = {
            "operation": f"Op{rng.randrange(90)}", "service": {"name": f"svc{service}"}, "version": "v1",
            "request": {"uid": f"{rng.getrandbits(128):032x}"}, "response": {"code": code, "error": None if code == 200 else f"E{code}"},
        }
        event["resources"] = [{"name": f"res{rng.randrange(500)}", "type": f"t{service}"} for _ in range(rng.randrange(3))]
    if uid == 4002:
        event["http_request"] = {
            "http_method": rng.choice(("GET", "POST")), "user_agent": f"agent/{user % 23}", "length": int(rng.lognormvariate(6, 2)),
            "url": {"path": f"/p/{rng.randrange(300)}", "hostname": f"w{rng.randrange(40)}.example.com", "port": 443, "scheme": "https"},
        }
        event["http_response"] = {"code": rng.choice((200, 200, 304, 404, 500)), "length": int(rng.lognormvariate(8, 2)), "latency": int(rng.lognormvariate(4, 1))}
    if uid == 4001:
        event["traffic"] = {k: int(rng.lognormvariate(8, 2)) for k in ("bytes", "bytes_in", "bytes_out", "packets", "packets_in", "packets_out")}
        event["connection_info"] = {"protocol_num": rng.choice((6, 17)), "direction_id": rng.randrange(3), "uid": f"{rng.getrandbits(64):016x}", "tcp_flags": rng.randrange(64)}
        event |= {"duration": int(rng.lognormvariate(5, 2)), "start_time": moment - rng.randrange(5000), "end_time": moment}
    if uid == 1007:
        def process(depth: int) -> dict[str, Any]:
            name = f"proc{rng.randrange(80)}"
            hashes = [{"algorithm_id": 3, "value": f"{hash(name) & (1 << 60):064x}"}]
            made = {
                "pid": rng.randrange(60000), "name": name, "cmd_line": f"{name} --run {rng.randrange(10**6)}", "created_time": moment - rng.randrange(10**6),
                "file": {"name": name, "path": f"/usr/bin/{name}", "size": rng.randrange(10**6), "type_id": 1, "hashes": hashes}, "user": person(user),
            }
            return made | ({"parent_process": process(depth - 1)} if depth else {})

        event["process"] = process(2)
    return event


def write_events(path: Path, n: int, seed: int = 0) -> None:
    rng = random.Random(seed)
    with path.open("w") as file:
        for row in range(n):
            file.write(json.dumps(make_event(rng, row), separators=(",", ":")) + "\n")


def ours(path: Path) -> np.ndarray:
    events, _ = read_events(path)
    encoded = EventEncoder().fit_transform(flatten(events))
    return np.hstack([encoded.numeric, encoded.categorical])


def theirs(path: Path, columns: tuple[list[str], list[str]]) -> np.ndarray:
    """The same quantities and categories, named beforehand: pandas does not have to find them."""
    quantities, categories = columns
    with path.open() as file:
        frame = pd.json_normalize([json.loads(line) for line in file])
    steps = ColumnTransformer([
        ("quantities", make_pipeline(SimpleImputer(strategy="median"), FunctionTransformer(np.log1p), RobustScaler()), quantities),
        ("categories", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2, max_categories=256), categories),
    ])
    frame[categories] = frame[categories].astype(object).where(frame[categories].notna(), None).map(lambda v: None if v is None else str(v))
    return np.asarray(steps.fit_transform(frame))


def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def stream(path: Path, batch_size: int = 20_000) -> None:
    """Print what the batch iterator takes: time an event, and the peak memory of this process."""
    encoder = EventEncoder().fit(flatten(next(iter(iter_events(path, batch_size=batch_size)))[0]))
    start, rows = time.perf_counter(), 0
    for events, _ in iter_events(path, batch_size=batch_size):
        rows += len(encoder.transform(flatten(events)).time)
    speed = rows / (time.perf_counter() - start)
    status = Path("/proc/self/status").read_text()  # Linux; getrusage would also cover the process that forked
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
    print(f"  {rows:>9,} events: {speed:>8,.0f} events/s, peak {peak:,.0f} MiB")


def main(n: int = 100_000, repeats: int = 3) -> None:
    """Print the ratio to pandas and scikit-learn, and the batch iterator's speed and memory at three sizes of file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        write_events(path, n)
        rows = flatten(read_events(path)[0])
        told = EventEncoder().fit(rows).describe().filter(decision="kept")
        kept = {kind: told.filter(kind=kind)["column"].to_list() for kind in ("quantity", "category", "port")}

        def here(names: list[str]) -> list[str]:
            return [c for c in names if not c.endswith((".length", ".all")) and ".first." not in c]

        columns = here(kept["quantity"]), here(kept["category"] + kept["port"])
        print(f"{n:,} events, {path.stat().st_size / n:,.0f} bytes and {rows.width} flattened attributes; kept: {told.height}")
        pairs = [(seconds(lambda: ours(path)), seconds(lambda: theirs(path, columns))) for _ in range(repeats)]
        mine, other = (statistics.median(side) for side in zip(*pairs, strict=True))
        ratio = statistics.median(b / a for a, b in pairs)
        print(f"read + flatten + fit + encode: {mine:.2f} s; json_normalize + ColumnTransformer: {other:.2f} s; {ratio:.1f} times as fast")
        print("batch iterator, each in a process of its own:")
        for times in (1, 3, 10):
            bigger = Path(folder) / "bigger.jsonl"
            bigger.write_bytes(path.read_bytes() * times)
            subprocess.run([sys.executable, "-m", "tests.bench_ocsf", str(bigger)], check=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        stream(Path(sys.argv[1]))
    else:
        main()
