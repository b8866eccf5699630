"""The simulated company: valid events, honest labels, incidents that no format betrays, and a
command that tells."""

import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import jsonschema
import numpy as np
import polars as pl
import pytest
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema
from scipy.stats import ttest_1samp
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict

from nbsrc.simulation import __main__ as command
from nbsrc.simulation.__main__ import main
from nbsrc.simulation.scenarios import EACH_NORMAL
from nbsrc.simulation.stream import SCENARIOS, simulate_events
from nbsrc.simulation.unforeseen import UNFORESEEN

Event = dict[str, Any]
CLASSES = {
    3002: "authentication",
    6003: "api_activity",
    4002: "http_activity",
    4001: "network_activity",
    1007: "process_activity",
}
FORTNIGHT = 14 * 86_400_000
N = 50_000  # events of the stream that most tests look at


@pytest.fixture(scope="module")
def stream() -> tuple[list[Event], pl.DataFrame]:
    return simulate_events(N, seed=7)


@pytest.fixture(scope="module")
def scenario_of(stream: tuple[list[Event], pl.DataFrame]) -> dict[str, tuple[str, int]]:
    return {uid: (scenario, instance) for uid, scenario, instance in stream[1].iter_rows()}


def uid(event: Event) -> str:
    return event["metadata"]["uid"]


def paths(value: Any, prefix: str = "") -> set[str]:
    if not isinstance(value, dict):
        return {prefix}
    return set().union(*(paths(v, f"{prefix}.{k}" if prefix else k) for k, v in value.items()))


def test_every_event_is_valid_ocsf_of_its_version(stream, scenario_of) -> None:
    events = [event for event in stream[0] if uid(event) in scenario_of]
    events += stream[0][:: len(stream[0]) // (2000 - len(events))]
    more, labels = simulate_events(5000, seed=7, scenarios=tuple(UNFORESEEN))
    events += [event for event in more if uid(event) in set(labels["uid"])]
    assert len(events) >= 2000 and {event["class_uid"] for event in events} == set(CLASSES)
    schemas: dict[str, OcsfJsonSchemaEmbedded] = {}
    validators: dict[tuple, jsonschema.Draft202012Validator] = {}
    for event in events:
        version, profiles = event["metadata"]["version"], tuple(event["metadata"]["profiles"])
        key = (event["class_uid"], version, profiles)
        if key not in validators:
            schemas.setdefault(version, OcsfJsonSchemaEmbedded(get_ocsf_schema(version)))
            schema = schemas[version].get_class_schema(CLASSES[event["class_uid"]], list(profiles))
            validators[key] = jsonschema.Draft202012Validator(schema)
        assert [error.message for error in validators[key].iter_errors(event)] == []
        assert event["type_uid"] == event["class_uid"] * 100 + event["activity_id"]
        assert event["category_uid"] == event["class_uid"] // 1000


def test_several_hundred_attributes_with_gaps_as_in_life(stream) -> None:
    seen = Counter(path for event in stream[0][::5] for path in paths(event))
    assert len(seen) >= 300
    by_class = Counter(event["class_uid"] for event in stream[0][::5])
    assert min(by_class[c] for c in CLASSES) > 300
    # Few attributes are always there: in life most are missing from most events.
    assert sum(count == len(stream[0][::5]) for count in seen.values()) < 40


def test_the_stream_is_a_company_s_fortnight_in_order(stream) -> None:
    events, _ = stream
    start = int(datetime(2026, 3, 2, tzinfo=UTC).timestamp() * 1000)
    times = [event["time"] for event in events]
    assert len(events) == N and times == sorted(times)
    assert (
        start <= times[0] < start + 3_600_000
        and start + FORTNIGHT - 3_600_000 < times[-1] < start + FORTNIGHT
    )
    assert len({uid(event) for event in events}) == len(events)
    days = np.bincount([(time - start) // 86_400_000 for time in times], minlength=14)
    assert days[[5, 6, 12, 13]].max() < 0.5 * np.delete(days, [5, 6, 12, 13]).min()
    hours = np.bincount([time // 3_600_000 % 24 for time in times], minlength=24)
    assert hours[9:15].mean() > 3 * hours[0:4].mean() > 0


def test_labels_are_complete_rare_and_outside_the_events(stream) -> None:
    events, labels = stream
    assert labels.columns == ["uid", "scenario", "instance"]
    assert labels["uid"].is_unique().all() and set(labels["uid"]) <= {
        uid(event) for event in events
    }
    assert (
        set(labels["scenario"]) == set(SCENARIOS)
        and len(SCENARIOS) == 9
        and set(EACH_NORMAL) < set(SCENARIOS)
    )
    instances = labels.group_by("scenario").agg(pl.col("instance").n_unique())["instance"]
    assert set(instances) == {N // 25_000}
    assert len(labels) < 0.007 * len(events)
    uids = set(labels["uid"])
    text = json.dumps([event for event in events if uid(event) in uids])
    assert not [
        word
        for word in (*SCENARIOS, "scenario", "anomal", "malicious", "attacker")
        if word in text.lower()
    ]


def test_past_and_new_events_both_hold_every_scenario() -> None:
    for seed, start in (
        (0, "2026-03-02T00:00:00Z"),
        (1, "2026-03-07T15:30:00+02:00"),
    ):  # a Monday, a Saturday
        events, labels = simulate_events(25_000, seed=seed, start=start)
        new = {uid(event) for event in events[int(0.7 * len(events)) :]}
        parts: dict[tuple[str, int], set[bool]] = defaultdict(set)
        for name, scenario, instance in labels.iter_rows():
            parts[scenario, instance].add(name in new)
        for side in (False, True):
            assert {scenario for (scenario, _), sides in parts.items() if sides == {side}} == set(
                SCENARIOS
            )
        assert len(labels) < 0.007 * len(events)
        first = int(datetime.fromisoformat(start).timestamp() * 1000)
        assert first <= events[0]["time"] and events[-1]["time"] < first + FORTNIGHT


def test_equal_arguments_give_equal_events_in_any_process() -> None:
    code = (
        "import hashlib, json; from nbsrc.simulation.stream import simulate_events;"
        "e, l = simulate_events(3000, seed=3);"
        "print(hashlib.sha256(json.dumps([e, l.rows()]).encode()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": salt},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for salt in ("1", "2")
    }
    assert len(digests) == 1
    events, _ = simulate_events(3000, seed=3)
    assert events == simulate_events(3000, seed=3, start=datetime(2026, 3, 2))[0]
    assert events != simulate_events(3000, seed=4)[0]


def test_clean_traffic_and_single_scenarios_are_what_was_asked_for() -> None:
    for n in (0, 1, 10, 500):
        events, labels = simulate_events(n, seed=0, scenarios=())
        assert (
            len(events) == n
            and labels.is_empty()
            and labels.columns == ["uid", "scenario", "instance"]
        )
    events, labels = simulate_events(1000, seed=0, scenarios=("beaconing",))
    assert len(events) == 1000 and set(labels["scenario"]) == {"beaconing"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"n": -1, "scenarios": ()}, "-1"),
        ({"n": 100}, "at least 1000"),
        ({"n": 2000, "scenarios": ("flood",)}, "flood"),
        ({"n": 2000, "start": "soon"}, "soon"),
        ({"n": 2000, "seed": -1}, "-1"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        simulate_events(**{"seed": 0, **arguments})


def form(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """What remains of an event without its content: which fields there are, of which characters,
    and how long an id is."""
    if isinstance(value, dict):
        for key, child in value.items():
            yield from form(child, f"{path}.{key}")
    elif isinstance(value, list):
        yield f"{path}[]", "list"
        for child in value:
            yield from form(child, f"{path}[]")
    elif isinstance(value, str):
        kinds = "".join(
            sorted(
                {
                    "a" if c.islower() else "A" if c.isupper() else "0" if c.isdigit() else c
                    for c in value
                }
            )
        )
        yield path, f"{kinds}{len(value).bit_length()}" if "0" in kinds else kinds
    else:
        yield path, type(value).__name__


class Form(NamedTuple):
    stream: int
    scenario: str  # or "", where nothing is wrong
    fields: dict[str, str]


Stratum = tuple[int, bool]


@pytest.fixture(scope="module")
def forms() -> dict[Stratum, list[Form]]:
    """By class and activity, and by whether one of the company's servers is the target or where a
    program runs: of each of 20 small streams the events of one instance of each scenario, and 30 in
    which nothing is wrong."""
    found = defaultdict(list)
    for seed in range(20):
        events, labels = simulate_events(2500, seed=seed, scenarios=(*SCENARIOS, *UNFORESEEN))
        scenario_of = dict(labels.select("uid", "scenario").iter_rows())
        normal: Counter[Stratum] = Counter()
        for i in np.random.default_rng(seed).permutation(len(events)):
            event, scenario = events[i], scenario_of.get(uid(events[i]), "")
            ours = event.get("dst_endpoint", {}).get("ip", "").startswith("10.")
            runs = event["class_uid"] == 1007 and event["device"]["type"] == "Server"
            stratum = event["type_uid"], ours or runs
            normal[stratum] += not scenario
            if scenario or normal[stratum] <= 30:
                found[stratum].append(Form(seed, scenario, dict(form(event))))
    return found


def chance_without_a_mark(forms: list[Form], scenario: str) -> float:
    """The probability that the events of a scenario are told from others by their form as well as a
    classifier tells them, if nothing in it marks them.

    The classifier never learns from the stream it is tested on, so that a victim's name is of no
    use to it. Events of one instance share victim and machine and are no independent evidence, but
    streams are: an instance counts as one AUC, that of its events among the others of its stream.
    Without a mark these scatter around 1/2, and a t-test tells whether they do."""
    forms = [form for form in forms if form.scenario in ("", scenario)]
    bad, stream = (
        np.array([form.scenario != "" for form in forms]),
        np.array([form.stream for form in forms]),
    )
    x = DictVectorizer(sparse=False).fit_transform([form.fields for form in forms])
    model = LogisticRegression(
        l1_ratio=1, C=0.1, solver="liblinear", class_weight="balanced", random_state=0
    )
    score = cross_val_predict(
        model, x, bad, groups=stream, cv=GroupKFold(4), method="decision_function"
    )
    aucs = [roc_auc_score(bad[stream == s], score[stream == s]) for s in sorted(set(stream[bad]))]
    return float(ttest_1samp(aucs, 0.5, alternative="greater").pvalue)


def chances_without_a_mark(forms: dict[Stratum, list[Form]]) -> dict[tuple[Stratum, str], float]:
    """chance_without_a_mark, wherever a scenario has events in at least 10 streams."""
    streams: dict[tuple[Stratum, str], set[int]] = defaultdict(set)
    for stratum, members in forms.items():
        for member in members:
            if member.scenario:
                streams[stratum, member.scenario].add(member.stream)
    return {
        (stratum, scenario): chance_without_a_mark(forms[stratum], scenario)
        for (stratum, scenario), found in streams.items()
        if len(found) >= 10
    }


def test_the_format_of_an_event_says_nothing(forms) -> None:
    chances = chances_without_a_mark(forms)
    assert {scenario for _, scenario in chances} == {*SCENARIOS, *UNFORESEEN}
    # 1% that one of all the comparisons fails where nothing is marked (Bonferroni).
    assert {key: chance for key, chance in chances.items() if chance < 0.01 / len(chances)} == {}


@pytest.mark.parametrize(
    ("path", "mark"),
    [(".metadata.processed_time", None), (".tls.version", "a"), (".connection_info.uid", "0A4")],
)
def test_a_field_or_a_pattern_that_marks_one_scenario_is_found(forms, path, mark) -> None:
    """Even one that many other events lack as well, on the two to four events of a fast
    exfiltration."""
    stratum, scenario = (400106, False), "exfiltration_fast"
    tampered = []
    for member in forms[stratum]:
        fields = dict(member.fields)
        if member.scenario == scenario and fields.pop(path, None) and mark:
            fields[path] = mark
        tampered.append(member._replace(fields=fields))
    assert chances_without_a_mark({stratum: tampered})[stratum, scenario] < 1e-6


def test_incidents_have_legitimate_look_alikes(stream, scenario_of) -> None:
    """No single column of one event gives an incident away: the same values occur, more often, when
    all is well."""
    normal = [event for event in stream[0] if uid(event) not in scenario_of]
    bad: dict[str, list[Event]] = defaultdict(list)
    for event in stream[0]:
        if uid(event) in scenario_of:
            bad[scenario_of[uid(event)][0]].append(event)

    def some(class_uid: int, test: Any) -> int:
        return sum(event["class_uid"] == class_uid and test(event) for event in normal)

    failed = some(3002, lambda e: e["status_id"] == 2 and e["is_remote"])
    assert failed > 3 * (len(bad["password_spraying"]) + len(bad["brute_force"]))
    places = {e["src_endpoint"]["ip"] for e in normal if e["class_uid"] in (3002, 6003)}
    outside = [
        e["src_endpoint"]["ip"]
        for s in ("password_spraying", "brute_force", "impossible_travel")
        for e in bad[s]
    ]
    assert np.mean([ip in places for ip in outside]) > 0.6
    gigabytes = np.median([e["traffic"]["bytes_out"] for e in bad["exfiltration_fast"]])
    assert gigabytes > 1e9 and some(4001, lambda e: e["traffic"]["bytes_out"] > gigabytes) > len(
        bad["exfiltration_fast"]
    )
    flows = [e["traffic"]["bytes_out"] for e in normal if e["class_uid"] == 4001]
    small = [e["traffic"]["bytes_out"] for s in ("beaconing", "exfiltration_slow") for e in bad[s]]
    assert np.mean(np.array(small) < np.quantile(flows, 0.99)) > 0.9
    names = {e["dst_endpoint"].get("hostname") for e in normal if e["class_uid"] == 4001}
    assert {
        e["dst_endpoint"].get("hostname")
        for s in ("beaconing", "exfiltration_fast")
        for e in bad[s]
    } <= names
    granted = some(6003, lambda e: e["api"]["operation"] in ("AttachUserPolicy", "CreateAccessKey"))
    assert granted > 5 * len(bad["privilege_escalation"])
    programs = {e["process"]["name"] for e in normal if e["class_uid"] == 1007}
    assert {e["process"]["name"] for e in bad["ransomware"]} <= programs
    slow = np.median(
        [e["http_response"]["latency"] for e in bad["service_storm"] if e["class_uid"] == 4002]
    )
    assert some(4002, lambda e: e["http_response"]["latency"] > slow) > len(bad["service_storm"])


def test_incidents_leave_the_traces_they_are_named_for(stream, scenario_of) -> None:
    instances: dict[str, list[list[Event]]] = defaultdict(list)
    found: dict[tuple[str, int], list[Event]] = defaultdict(list)
    for event in stream[0]:
        if uid(event) in scenario_of:
            found[scenario_of[uid(event)]].append(event)
    for (scenario, _), events in found.items():
        instances[scenario].append(events)
    for events in instances["password_spraying"]:
        assert len({e["user"]["name"] for e in events}) == len(events) and all(
            e["status_id"] == 2 for e in events
        )
    for events in instances["brute_force"]:
        logons = [e["status_id"] for e in events if e["class_uid"] == 3002]
        assert len({e["src_endpoint"]["ip"] for e in events}) == 1 and logons == [2] * (
            len(logons) - 1
        ) + [1]
    for events in instances["impossible_travel"]:
        one, two = (e for e in events if e["class_uid"] == 3002)
        assert one["user"]["name"] == two["user"]["name"] and two["time"] - one["time"] < 3_600_000
        assert one["src_endpoint"]["ip"] != two["src_endpoint"]["ip"]
    for events in instances["exfiltration_slow"]:
        assert events[-1]["time"] - events[0]["time"] > 3_600_000
        assert (
            len({e["src_endpoint"]["ip"] for e in events})
            == len({e["dst_endpoint"]["ip"] for e in events})
            == 1
        )
    for events in instances["beaconing"]:
        gaps = np.diff([e["time"] for e in events])
        assert gaps.std() < 0.1 * gaps.mean()
    for events in instances["ransomware"]:
        assert (
            len({e["device"]["uid"] for e in events}) == 1
            and events[-1]["time"] - events[0]["time"] < 300_000
        )
    for events in instances["service_storm"]:
        codes = [e["http_response"]["code"] for e in events if e["class_uid"] == 4002]
        assert (
            np.mean(np.array(codes) >= 500) > 0.2
            and events[-1]["time"] - events[0]["time"] < 900_000
        )


def test_the_command_writes_the_same_stream_in_both_formats(tmp_path, capsys) -> None:
    events, labels = simulate_events(1000, seed=5)
    assert main(["--events", "1000", "--seed", "5", "--out", str(tmp_path / "a" / "b")]) == 0
    assert "1000 events" in capsys.readouterr().out
    with (tmp_path / "a" / "b" / "events.jsonl").open() as lines:
        assert [json.loads(line) for line in lines] == events
    assert pl.read_csv(tmp_path / "a" / "b" / "labels.csv").equals(labels)
    assert (
        main(
            ["--events", "1000", "--seed", "5", "--out", str(tmp_path / "p"), "--format", "parquet"]
        )
        == 0
    )
    frame = pl.read_parquet(tmp_path / "p" / "events.parquet")

    def dense(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: dense(v) for k, v in value.items() if v is not None}
        return [dense(v) for v in value] if isinstance(value, list) else value

    assert [dense(row) for row in frame.iter_rows(named=True)] == events
    assert sorted(os.listdir(tmp_path / "p")) == ["events.parquet", "labels.csv"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--events", "many"],
        ["--events", "10"],
        ["--events", "2000", "--start", "soon"],
        ["--events", "2000", "--start", "9999-12-30"],
        ["--events", "2000", "--start", "1969-12-31T23:00:00+05:00"],
        ["--events", "2000", "--seed", "-1"],
        ["--events", "2000", "--format", "xml"],
        [],
    ],
)
def test_the_command_says_what_is_wrong_in_one_line(tmp_path, capsys, arguments) -> None:
    out = tmp_path / "out"
    try:
        code = main([*arguments, "--out", str(out)])
    except SystemExit as stopped:
        code = stopped.code
    told = capsys.readouterr()
    assert (
        code == 2
        and told.err.count("\n") == 1
        and told.err.startswith("nbsrc.simulation: ")
        and not told.out
    )
    assert not out.exists()


def test_the_command_leaves_a_folder_with_files_alone(tmp_path, capsys) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    assert main(["--events", "2000", "--out", str(tmp_path)]) == 2
    assert main(["--events", "2000", "--out", str(tmp_path / "mine.txt")]) == 2
    assert capsys.readouterr().err.count("\n") == 2 and os.listdir(tmp_path) == ["mine.txt"]


@pytest.mark.parametrize(
    ("failure", "code"), [(KeyboardInterrupt(), 130), (OSError("No space left"), 2)]
)
def test_a_run_that_stops_leaves_no_half_of_a_file(
    tmp_path, monkeypatch, capsys, failure, code
) -> None:
    written = 0

    def dumps(event: Event, **_: Any) -> str:
        nonlocal written
        written += 1
        if written > 500:
            raise failure
        return "{}"

    monkeypatch.setattr(command.json, "dumps", dumps)
    assert main(["--events", "2000", "--out", str(tmp_path / "out")]) == code
    assert not list((tmp_path / "out").iterdir()) and "Traceback" not in capsys.readouterr().err
