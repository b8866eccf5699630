"""Who reads how recorded traces were scored relies on methods being what they are called, and on
data being what they should be."""

import hashlib
import threading
import zipfile
from collections import Counter
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch

from nbsrc.sequences import adfa, hdfs, zeek
from nbsrc.sequences.__main__ import main
from nbsrc.sequences.contexts import NETWORKS
from nbsrc.sequences.counts import Lengths, NearestCounts
from nbsrc.sequences.download import Source, checksum, fetch
from nbsrc.sequences.labelled import labelled
from nbsrc.sequences.ngrams import NGramModel, UnseenNGrams, codes
from nbsrc.sequences.real import interval, trace_experiment
from nbsrc.sequences.symbols import WINDOW, NetworkSurprise, windows
from nbsrc.sequences.training import train
from nbsrc.support.results import read_result


def random_traces(n, *, symbols=5, longest=30, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(symbols, size=rng.integers(1, longest)) for _ in range(n)]


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_equal_runs_have_equal_codes_and_unequal_ones_do_not(n):
    for trace in random_traces(20):
        runs = [tuple(trace[i : i + n]) for i in range(len(trace) - n + 1)]
        own = codes(trace, n).tolist()
        assert len(own) == len(runs)
        assert len(set(zip(own, runs, strict=True))) == len(set(own)) == len(set(runs))


@pytest.mark.parametrize("n", [1, 2, 4])
def test_unseen_n_grams_are_counted_as_one_would_by_hand(n):
    past, new = random_traces(10), random_traces(30, symbols=6, seed=1)
    seen = {tuple(t[i : i + n]) for t in past for i in range(len(t) - n + 1)}
    for trace, score in zip(new, UnseenNGrams(n).fit(past).decision_function(new), strict=True):
        runs = [tuple(trace[i : i + n]) for i in range(len(trace) - n + 1)]
        unseen = sum(run not in seen for run in runs)
        assert score == pytest.approx(unseen / len(runs) if runs else 0)


@pytest.mark.parametrize("n", [1, 2, 4])
def test_the_n_gram_model_is_the_textbook_s(n):
    past, trace = random_traces(15), random_traces(1, symbols=6, longest=40, seed=3)[0]
    counts = Counter(
        tuple(t[i : i + k]) for t in past for k in range(1, n + 1) for i in range(len(t) - k + 1)
    )

    def probability(run):
        if not run:
            return 1 / 7
        after = {
            key: c for key, c in counts.items() if key[:-1] == run[:-1] and len(key) == len(run)
        }
        shorter = probability(run[1:])
        if not after:
            return shorter
        total, kinds = sum(after.values()), len(after)
        return (counts[run] + kinds * shorter) / (total + kinds)

    expected = [
        -np.log(probability(tuple(trace[max(0, i - n + 1) : i + 1]))) for i in range(len(trace))
    ]
    np.testing.assert_allclose(NGramModel(n, n_symbols=6).fit(past).nats(trace), expected)


def test_the_n_gram_model_s_probabilities_sum_to_one():
    model = NGramModel(3, n_symbols=5).fit(random_traces(20))
    ends = [model.nats(np.array([1, 2, last]))[-1] for last in range(6)]
    assert np.exp(-np.array(ends)).sum() == pytest.approx(1)


def test_nearest_counts_see_no_order_and_no_repetition_of_known_traces():
    past = [np.array([0, 0, 1]), np.array([2, 2])]
    scores = (
        NearestCounts(n_symbols=3)
        .fit(past)
        .decision_function([np.array([1, 0, 0]), np.array([0, 0, 0]), np.array([3])])
    )
    np.testing.assert_allclose(scores, [0, 2 / 6, 1])


def test_short_and_long_traces_are_both_unusual():
    past = [np.zeros(n, int) for n in range(10, 31)]
    scores = Lengths().fit(past).decision_function([np.zeros(n, int) for n in (2, 20, 50)])
    assert scores[0] == scores[2] > scores[1]


def test_windows_score_every_symbol_once_and_with_half_a_window_before_it():
    traces = [np.arange(n) for n in (1, 7, 8, 9, 12, 13, 40)]
    symbols, scored, owner = windows(traces, length=8)
    for number, trace in enumerate(traces):
        own = owner == number
        assert torch.equal(symbols[own][scored[own]], torch.from_numpy(trace))
    first = scored.int().argmax(1)[symbols[:, 0] > 0]  # of windows that are not a trace's first
    assert len(first) and (first == 4).all()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_that_has_learned_an_order_is_surprised_by_another(name):
    past = [np.arange(start, start + 60) % 4 for start in range(20)]
    model = NetworkSurprise(NETWORKS[name], n_symbols=4, seed=0, steps=20).fit(past)
    usual, odd = model.decision_function([np.arange(50) % 4, np.arange(50)[::-1] % 4])
    assert odd > usual + 0.5 and model.steps_ == 20


def test_a_trace_s_surprise_is_the_mean_over_all_of_its_symbols():
    """However long it is, and whatever else is scored beside it."""
    traces = [*random_traces(3, longest=3 * WINDOW, seed=4), np.array([1])]
    model = NetworkSurprise(NETWORKS["Residual TCN"], n_symbols=5, seed=0, steps=1).fit(traces)
    together = model.decision_function(traces)
    for trace, score in zip(traces, together, strict=True):
        with torch.inference_mode():
            nats = model.model_(torch.from_numpy(trace)[None])
        assert model.decision_function([trace])[0] == pytest.approx(score, rel=1e-4)
        if len(trace) <= WINDOW:
            assert score == pytest.approx(float(nats.mean()), rel=1e-4)


def test_equal_seeds_train_equal_networks():
    past = random_traces(10)
    a, b = (NetworkSurprise(NETWORKS["GRU"], n_symbols=5, seed=1, steps=3).fit(past) for _ in "ab")
    np.testing.assert_array_equal(a.decision_function(past), b.decision_function(past))


@pytest.mark.parametrize("given", [{}, {"steps": 2, "seconds": 1.0}, {"steps": -1}])
def test_training_wants_either_steps_or_seconds(given):
    with pytest.raises(ValueError, match="give steps or seconds"):
        train(torch.nn.Linear(1, 1), lambda _: torch.zeros(()), seed=0, **given)


def test_symbols_that_the_past_does_not_have_are_one_symbol():
    data = labelled([np.array([7, 3])], [np.array([3])], [np.array([9, 7, 1])], ["x"])
    assert [trace.tolist() for trace in data.new] == [[0], [2, 1, 2]]
    assert data.n_symbols == 2 and data.group.tolist() == ["", "x"]


def test_the_interval_holds_the_value_and_widens_where_attacks_are_few():
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.normal(0, 1, 400), rng.normal(1, 1, 100)])
    many = np.array([""] * 400 + [str(i) for i in range(100)])
    shifted = scores.copy()
    shifted[400:] += np.repeat([-1, 1], 50)  # the traces of an attack resemble each other
    few = np.array([""] * 400 + ["a"] * 50 + ["b"] * 50)
    low, high = interval(scores, many, seed=0)
    assert low < 0.76 < high and high - low < 0.12
    low, high = interval(shifted, few, seed=0)
    assert high - low > 0.25


def test_every_method_is_measured_and_those_without_chance_once():
    data = labelled(random_traces(10), random_traces(5, seed=1), random_traces(4, seed=2), "aabb")
    table = trace_experiment(lambda _: data, seeds=[0, 1], seconds=0.01)
    runs = table["method"].value_counts().rows_by_key("method")
    assert {name: count for name, ((count,),) in runs.items() if count > 1} == dict.fromkeys(
        NETWORKS, 2
    )
    assert table["roc_auc"].is_between(0, 1).all() and len(runs) > 8


# ---- the data ----


@pytest.fixture
def server(tmp_path):
    """A local server of a folder: (folder, address)"""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


def test_a_file_is_downloaded_once_and_checked(server, tmp_path):
    folder, address = server
    (folder / "traces").write_bytes(b"1 2 3")
    source = Source("deep/traces", f"{address}/traces", checksum(b"1 2 3"))
    mine = tmp_path / "mine"
    mine.mkdir()
    assert fetch(source, mine).read_bytes() == b"1 2 3"
    (folder / "traces").unlink()
    assert fetch(source, mine).read_bytes() == b"1 2 3"  # from the folder
    (mine / "deep/traces").write_bytes(b"1 2")
    with pytest.raises(ValueError, match="traces is damaged: remove it to download it again"):
        fetch(source, mine)


def test_another_file_than_expected_is_refused_and_nothing_is_left(server, tmp_path):
    folder, address = server
    (folder / "traces").write_bytes(b"something else")
    mine = tmp_path / "mine"
    mine.mkdir()
    with pytest.raises(ValueError, match="is not the file that it was: nothing written"):
        fetch(Source("traces", f"{address}/traces", checksum(b"1 2 3")), mine)
    with pytest.raises(OSError, match=r"gone could not be downloaded into .*404"):
        fetch(Source("gone", f"{address}/gone", checksum(b"")), mine)
    assert not list(mine.iterdir())


def test_no_folder_for_the_data_is_one_line(tmp_path, capsys):
    argv = ["adfa", "--data", str(tmp_path / "none"), "--out", str(tmp_path / "out.json")]
    assert main(argv) == 2
    said = capsys.readouterr().err
    assert "create it to have ADFA-LD.zip downloaded there" in said and said.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "more, said",
    [(["--seconds", "0"], "--seconds must be positive"), (["--seeds", "-1"], "at least 0")],
)
def test_impossible_settings_are_one_line(tmp_path, capsys, more, said):
    assert main(["zeek", "--out", str(tmp_path / "out.json"), *more]) == 2
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1


@pytest.fixture
def adfa_folder(tmp_path, monkeypatch):
    """A folder with a small ADFA-LD.zip, laid out as the real one."""
    traces = {
        "ADFA-LD/ADFA-LD+Syscall+List.txt": "not a trace",
        "ADFA-LD/Training_Data_Master/UTD-1.txt": "6 6 63 ",
        "ADFA-LD/Validation_Data_Master/UVD-1.txt": "63 6",
        "ADFA-LD/Attack_Data_Master/Hydra_SSH_9/UAD-1.txt": "6 42 6",
    }
    with zipfile.ZipFile(tmp_path / "ADFA-LD.zip", "w") as archive:
        for name, text in traces.items():
            archive.writestr(name, text)
    own = hashlib.sha256((tmp_path / "ADFA-LD.zip").read_bytes()).hexdigest()
    monkeypatch.setattr(adfa, "SOURCE", adfa.SOURCE._replace(sha256=own))
    return tmp_path


def test_adfa_s_parts_are_told_apart(adfa_folder):
    data = adfa.load_adfa(adfa_folder)
    assert [trace.tolist() for trace in data.past] == [[0, 0, 1]]
    assert [trace.tolist() for trace in data.new] == [[1, 0], [0, 2, 0]]
    assert data.group.tolist() == ["", "Hydra_SSH_9"]


def test_the_command_stores_a_result_without_the_reader_s_folder(adfa_folder):
    out = adfa_folder / "out.json"
    argv = ["adfa", "--data", str(adfa_folder), "--out", str(out), "--seeds", "0"]
    assert main([*argv, "--seconds", "0.01"]) == 0
    table, about = read_result(out)
    assert table.height > 8 and str(adfa_folder) not in str(about["command"])
    assert about["data"].startswith("ADFA-LD: 1 traces to learn from, 1 normal and 1 others")


def test_hdfs_s_normal_blocks_are_split_and_its_names_left_out(tmp_path, monkeypatch):
    texts = {"NORMAL": "".join(f"blk_{i},5 {i}\n" for i in range(6)), "ABNORMAL": "blk_-1,22 5\n"}
    (tmp_path / "hdfs").mkdir()
    for which, text in texts.items():
        source = getattr(hdfs, which)
        (tmp_path / source.name).write_text(text)
        own = checksum(text.encode())
        monkeypatch.setattr(hdfs, which, source._replace(sha256=own))
    data = hdfs.load_hdfs(tmp_path, seed=0)
    assert (len(data.past), len(data.new)) == (3, 4)
    assert [len(trace) for trace in data.past + data.new] == [2] * 7
    other = hdfs.load_hdfs(tmp_path, seed=1)
    assert any(map(np.any, (a != b for a, b in zip(data.new, other.new, strict=True))))


def test_the_most_regular_pair_comes_first_and_few_connections_are_left_out(tmp_path, monkeypatch):
    times = {"10.0.0.9": np.arange(8) * 60.0, "ff02::1": np.arange(8) ** 2 * 5.0, "::2": [1, 2]}
    lines = ["#separator \\x09", "#fields\tts\tid.orig_h\tid.resp_h\tid.resp_p\tdetailedlabel"]
    lines += [
        f"{ts}\tme\t{to}\t80\t{'CC' if to == '10.0.0.9' else '(empty)'}"
        for to, own in times.items()
        for ts in own
    ]
    text = "\n".join(lines) + "\n"
    (tmp_path / "zeek").mkdir()
    (tmp_path / zeek.SOURCE.name).write_text(text)
    monkeypatch.setattr(zeek, "SOURCE", zeek.SOURCE._replace(sha256=checksum(text.encode())))
    pairs = zeek.regularity(zeek.load_zeek(tmp_path))
    assert pairs["to"].to_list() == ["10.0.0.9", "ff02::1"]
    assert pairs["deviation"].to_list() == pytest.approx([0, 20 / 35])
    assert pairs["gap"].to_list() == pytest.approx([60, 35])
    assert pairs["multicast"].to_list() == [False, True]
    assert pairs["labels"].to_list() == ["CC", ""]
