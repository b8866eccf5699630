"""What the chapter says about stored results is in them."""

import re
from pathlib import Path

import polars as pl
import pytest

from nbsrc.sequences.contexts import NETWORKS
from nbsrc.support.results import read_result

RESULTS = Path(__file__).parents[1] / "results"
STORED = sorted(path.name for path in RESULTS.glob("sequences-*.json"))


def means(name, column="roc_auc"):
    table, _ = read_result(RESULTS / name)
    return dict(table.group_by("method").agg(pl.mean(column)).iter_rows())


@pytest.mark.parametrize("name", STORED)
def test_a_result_says_how_to_make_it_again(name):
    table, about = read_result(RESULTS / name)
    assert table.height and re.match(r"python -m nbsrc\.sequences \w+ ", about["command"])
    assert {"date", "hardware", "versions", "data"} <= set(about)
    assert "/work" not in str(about) and "/tmp" not in str(about)


@pytest.mark.parametrize("name", ["sequences-adfa.json", "sequences-hdfs.json"])
def test_networks_had_equal_time_and_three_seeds(name):
    networks = read_result(RESULTS / name)[0].filter(pl.col("method").is_in(list(NETWORKS)))
    assert networks["method"].value_counts()["count"].to_list() == [3, 3, 3]
    assert networks["learning"].max() < 1.1 * networks["learning"].min()


def test_on_system_calls_counting_is_ahead_of_the_networks_and_order_ahead_of_counts():
    own = means("sequences-adfa.json")
    assert own["6-gram model"] > max(own[name] for name in NETWORKS)
    assert own["6-gram model"] > own["Nearest counts"] and own["Lengths"] < 0.6


def test_on_hdfs_counts_are_nearly_perfect_and_methods_stand_in_the_published_order():
    own = means("sequences-hdfs.json")
    assert own["Nearest counts"] > 0.99
    published = ["Unseen 1-grams", "Lengths", "Unseen 2-grams", "Unseen 3-grams", "Nearest counts"]
    assert sorted(published, key=own.get) == published


def test_neighbours_are_more_regular_than_the_trojan_and_one_burst_is():
    pairs, _ = read_result(RESULTS / "sequences-zeek.json")
    ahead = pairs[: pairs["labels"].to_list().index("CC")]
    single = ahead.filter(~pl.col("multicast"))
    assert len(ahead) > 5 and len(single) == 1 and single["gap"][0] < 0.01


def test_on_simulated_streams_context_finds_more_than_rarity_and_sets_find_least():
    """With three networks that differ by less than an incident a stream, the TCN not ahead."""
    table, _ = read_result(RESULTS / "sequences-simulated.json")
    assert table["seed"].n_unique() >= 3
    own = dict(table.filter(budget=10).group_by("method").agg(pl.mean("found")).iter_rows())
    networks = [own[name] for name in NETWORKS]
    assert min(networks) > own["Rarity, no context"] and max(networks) - min(networks) < 1
    assert own["Residual TCN"] < max(networks)
    assert max(found for name, found in own.items() if name.startswith("Sets")) < min(
        own["Rarity, no context"], own["3-gram model"]
    )


def test_over_time_too_only_residual_stacks_learn_when_they_are_deep():
    table, _ = read_result(RESULTS / "sequences-depth.json")
    error = table.group_by("kind", "depth").agg(pl.median("train_error"))
    error = error.rows_by_key(["kind", "depth"], unique=True)
    for depth in (4, 8):
        assert error["plain", depth][0] > 0.85 and error["residual", depth][0] < 0.2
