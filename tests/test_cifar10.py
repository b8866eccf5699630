"""The CIFAR-10 command on small folders: what it reads, what it writes, interrupted, resumed and
refused."""

import csv
import hashlib
import io
import itertools
import json
import os
import pickle
import shlex
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import safetensors.torch
import torch
import torchvision
from small_cifar10 import encode, images, write_split

from nbsrc.cifar10 import __main__ as command
from nbsrc.cifar10.__main__ import main
from nbsrc.cifar10.curves import main as curves_of
from nbsrc.cifar10.data import crop_and_flip, load_cifar10, normalize
from nbsrc.cifar10.recipes import LR, MODELS, recipe
from nbsrc.support.results import read_result
from nbsrc.support.tensors import read_tensors, write_tensors


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """130 training images (two steps an epoch) and 40 test images."""
    folder = tmp_path_factory.mktemp("data")
    write_split(folder, "train", 130, kind="JPEG")
    write_split(folder, "test", 40, kind="JPEG")
    return folder


def arguments(
    data: Path, out: Path, *more: str, model: str = "resnet20", epochs: int = 2
) -> list[str]:
    return [
        "--model",
        model,
        "--epochs",
        str(epochs),
        "--data",
        str(data),
        "--out",
        str(out),
        *more,
    ]


@pytest.fixture(scope="module")
def whole_run(data, tmp_path_factory) -> Path:
    """A run of two epochs that nobody interrupted."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert main(arguments(data, out)) == 0
    return out


def rows(out: Path) -> list[dict[str, str]]:
    with open(out / "log.csv", newline="") as file:
        return list(csv.DictReader(file))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.is_dir() else {}


def assert_same_run(out: Path, other: Path) -> None:
    """Equal weights, momentum and measurements, to the bit; only the times may differ."""
    tensors, others = (
        safetensors.torch.load_file(run / "checkpoint.safetensors") for run in (out, other)
    )
    assert tensors.keys() == others.keys()
    assert all(torch.equal(tensors[name], others[name]) for name in tensors)
    untimed = [[{**row, "seconds": ""} for row in rows(run)] for run in (out, other)]
    assert untimed[0] == untimed[1]


# ---- A run


def test_a_run_learns_and_leaves_a_log_weights_that_load_and_a_record_of_how_it_was_made(
    whole_run, data
):
    log = rows(whole_run)
    assert list(log[0]) == [
        "epoch", "lr", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "seconds",
    ]  # fmt: skip
    assert [row["epoch"] for row in log] == ["1", "2"]
    assert float(log[-1]["train_loss"]) < float(log[0]["train_loss"])

    net = MODELS["resnet20"]()
    tensors = safetensors.torch.load_file(whole_run / "checkpoint.safetensors")
    weights = {
        name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")
    }
    net.load_state_dict(weights)
    _, (test_images, test_labels) = load_cifar10(data)
    with torch.no_grad():
        correct = net.eval()(normalize(test_images)).argmax(1) == test_labels
    assert correct.double().mean().item() == pytest.approx(float(log[-1]["test_accuracy"]))

    record = json.loads((whole_run / "run.json").read_text())
    assert record["settings"]["model"] == "resnet20"
    assert record["settings"]["seed"] == 0
    assert "JPEG images, a lossy copy; 130 and 40 images" in record["settings"]["data"]
    assert record["result"]["test_accuracy"] == float(log[-1]["test_accuracy"])
    assert record["sessions"][0]["command"].startswith("python -m nbsrc.cifar10 --model resnet20")
    assert record["sessions"][0]["versions"]["torch"] == torch.__version__
    assert sorted(contents(whole_run)) == ["checkpoint.safetensors", "log.csv", "run.json"]


@pytest.mark.parametrize(
    "moment", ["first epoch", "second epoch", "after a checkpoint, before its log"]
)
def test_interrupted_and_resumed_is_the_run_that_was_not_interrupted(
    moment, data, whole_run, tmp_path, monkeypatch, capsys
):
    out, calls = tmp_path / "run", 0

    def interrupt_at(call: int, function):
        def wrapped(*args, **options):
            nonlocal calls
            calls += 1
            if calls == call:
                raise KeyboardInterrupt
            return function(*args, **options)

        return wrapped

    with monkeypatch.context() as patch:
        if moment == "after a checkpoint, before its log":
            patch.setattr(
                os, "replace", interrupt_at(4, os.replace)
            )  # two files before the first epoch
        else:
            patch.setattr(
                command, "crop_and_flip", interrupt_at(2 if "first" in moment else 4, crop_and_flip)
            )
        assert main(arguments(data, out)) == 130
    assert "--resume" in capsys.readouterr().err
    assert not list(out.glob("*.part"))
    assert main(arguments(data, out, "--resume")) == 0
    assert_same_run(out, whole_run)
    sessions = json.loads((out / "run.json").read_text())["sessions"]
    first = 1 if moment == "first epoch" else 2
    assert [session["first_epoch"] for session in sessions] == [1, first]


def test_ctrl_c_says_how_to_go_on_and_that_command_finishes_the_run(data, whole_run, tmp_path):
    out = tmp_path / "a run"
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    # `python -m nbsrc.cifar10`, also where this test is a shell's background job, which would
    # ignore Ctrl-C
    start = (
        "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "runpy.run_module('nbsrc.cifar10', run_name='__main__', alter_sys=True)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", start, *arguments(data, out)],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    deadline = time.monotonic() + 120
    while not (out / "log.csv").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors.startswith("Interrupted. Go on with: python ")
    assert errors.count("\n") == 1
    assert len(rows(out)) == 1

    again = shlex.split(errors.split("Go on with: ")[1])
    assert again[:3] == ["python", "-m", "nbsrc.cifar10"]
    assert main(again[3:]) == 0
    assert_same_run(out, whole_run)


def test_resuming_a_finished_run_changes_nothing(data, whole_run, capsys):
    before = contents(whole_run)
    assert main(arguments(data, whole_run, "--resume")) == 0
    assert "finished" in capsys.readouterr().out
    assert contents(whole_run) == before


# ---- Bad input: one line, exit 2, nothing overwritten


def refused(argv: list[str], out: Path, capsys) -> str:
    before = contents(out)
    assert main(argv) == 2
    assert contents(out) == before
    assert out.exists() == bool(before)
    error = capsys.readouterr().err
    assert error.startswith("nbsrc.cifar10: ")
    assert error.count("\n") == 1
    return error


def test_a_missing_folder_is_named(tmp_path, capsys):
    missing = tmp_path / "nowhere"
    assert str(missing) in refused(arguments(missing, tmp_path / "run"), tmp_path / "run", capsys)
    assert not missing.exists()


def test_half_of_the_data_is_not_enough(tmp_path, capsys):
    write_split(tmp_path, "train", 10)
    assert "test.parquet" in refused(
        arguments(tmp_path, tmp_path / "run"), tmp_path / "run", capsys
    )


@pytest.mark.parametrize("typo", ["resnet19", "resnt20", "plane56"])
def test_a_typo_in_the_model_suggests_the_nearest_names(typo, data, tmp_path, capsys):
    error = refused(arguments(data, tmp_path / "run", model=typo), tmp_path / "run", capsys)
    assert repr(typo) in error
    assert {"resnet19": "resnet18", "resnt20": "resnet20", "plane56": "plain56"}[typo] in error


@pytest.mark.parametrize(("epochs", "seed"), [(0, 0), (1, -1)])
def test_epochs_and_seed_must_make_sense(epochs, seed, data, tmp_path, capsys):
    argv = arguments(data, tmp_path / "run", "--seed", str(seed), epochs=epochs)
    assert "at least" in refused(argv, tmp_path / "run", capsys)


def test_an_existing_run_is_not_overwritten(data, whole_run, capsys):
    assert "--resume" in refused(arguments(data, whole_run), whole_run, capsys)


@pytest.mark.parametrize(
    ("options", "named"),
    [({"epochs": 4}, "epochs 2, not 4"), ({"model": "plain20"}, "'resnet20', not 'plain20'")],
)
def test_a_run_is_not_resumed_with_other_settings(options, named, data, whole_run, capsys):
    assert named in refused(arguments(data, whole_run, "--resume", **options), whole_run, capsys)


@pytest.mark.parametrize(
    ("kind", "named"), [("JPEG", "lossy copy; 130 and"), ("PNG", "losslessly stored")]
)
def test_a_run_is_not_resumed_on_other_images(kind, named, whole_run, tmp_path, capsys):
    write_split(tmp_path, "train", 130, kind=kind)
    write_split(tmp_path, "test", 40, kind=kind)
    table = pl.read_parquet(tmp_path / "test.parquet")
    other = pl.Series("image", table["image"].to_list()[::-1])
    table.with_columns(other).write_parquet(
        tmp_path / "test.parquet"
    )  # the labels stay as they were
    error = refused(arguments(tmp_path, whole_run, "--resume"), whole_run, capsys)
    assert "has data " in error
    assert named in error.split("not ")[1]


def test_without_a_checkpoint_there_is_nothing_to_resume(data, tmp_path, capsys):
    argv = arguments(data, tmp_path / "run", "--resume")
    assert "checkpoint.safetensors" in refused(argv, tmp_path / "run", capsys)


@pytest.mark.parametrize("damage", ["cut", "garbage", "empty", "other", "another's", "tensors"])
def test_a_damaged_checkpoint_is_named(damage, data, whole_run, tmp_path, capsys):
    good, path = whole_run / "checkpoint.safetensors", tmp_path / "checkpoint.safetensors"
    tensors = {"model.conv1.weight": torch.zeros(1)}
    if damage == "another's":
        write_tensors(path, tensors, {"format": 1})
    elif damage == "tensors":
        write_tensors(path, tensors, read_tensors(good)[1] | {"rows": []})
    else:
        path.write_bytes(
            {
                "cut": good.read_bytes()[:-100],
                "garbage": b"\xff" * 1000,
                "empty": b"",
                "other": safetensors.torch.save(tensors),
            }[damage]
        )
    assert "checkpoint" in refused(arguments(data, tmp_path, "--resume"), tmp_path, capsys)


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ({"image": encode(images(1, seed=0)[0][0], "JPEG")[:-200]}, "row 7: the image is damaged"),
        ({"image": b"no image"}, "row 7: the image is damaged"),
        ({"image": None}, "row 7: the image is damaged"),
        (
            {"image": encode(np.zeros((8, 8, 3), np.uint8), "PNG")},
            "row 7: the image must be 32 x 32 pixels, however: (8, 8)",
        ),
        ({"label": 10}, "row 7: the label must be 0 to 9, however: 10"),
        ({"label": None}, "row 7: the label must be 0 to 9, however: None"),
    ],
)
def test_a_damaged_row_is_named(row, named, tmp_path, capsys):
    for split in ("train", "test"):
        write_split(tmp_path, split, 10)
    table = pl.read_parquet(tmp_path / "test.parquet").to_dicts()
    table[7] |= row
    pl.DataFrame(table).write_parquet(tmp_path / "test.parquet")
    error = refused(arguments(tmp_path, tmp_path / "run"), tmp_path / "run", capsys)
    assert f"test.parquet, {named}" in error


@pytest.mark.parametrize(
    ("table", "named"),
    [
        (b"PAR1 and no more", "not a readable Parquet file"),
        ({"img": [b""], "label": [0]}, "no column 'image'"),
        ({"image": ["text"], "label": [0]}, "however: String"),
        ({"image": [b""], "label": [0.5]}, "Float64"),
        (pl.DataFrame(schema={"image": pl.Binary, "label": pl.Int64}), "no rows"),
    ],
)
def test_a_file_that_holds_no_images_and_labels_is_named(table, named, tmp_path, capsys):
    write_split(tmp_path, "train", 10)
    path = tmp_path / "train.parquet"
    path.write_bytes(table) if isinstance(table, bytes) else pl.DataFrame(table).write_parquet(path)
    (tmp_path / "test.parquet").touch()
    error = refused(arguments(tmp_path, tmp_path / "run"), tmp_path / "run", capsys)
    assert "train.parquet" in error
    assert named in error


# ---- Data


@pytest.mark.parametrize("struct", [False, True])
def test_images_come_out_of_parquet_as_they_went_in(struct, tmp_path):
    for split, n in (("train", 20), ("test", 10)):
        write_split(tmp_path, split, n, struct=struct)
    (train_x, train_y), (test_x, test_y) = load_cifar10(tmp_path)
    pixels, labels = images(20, seed=len("train"))
    assert torch.equal(train_x, torch.from_numpy(pixels).permute(0, 3, 1, 2))
    assert torch.equal(train_y, torch.from_numpy(labels))
    assert (test_x.shape, test_x.dtype, test_y.dtype) == ((10, 3, 32, 32), torch.uint8, torch.int64)


@pytest.fixture
def cifar10_server(tmp_path, monkeypatch) -> Iterator[ThreadingHTTPServer]:
    """CIFAR-10's own archive format, four images a batch, where torchvision will look for the
    download."""
    archive = tmp_path / "server" / "cifar-10-python.tar.gz"
    archive.parent.mkdir()
    members = {"batches.meta": {"label_names": [str(label) for label in range(10)]}}
    for number, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        pixels, labels = images(4, seed=number)
        members[name] = {
            "data": pixels.transpose(0, 3, 1, 2).reshape(4, 3072),
            "labels": labels.tolist(),
        }
    checksums = {}
    with tarfile.open(archive, "w:gz") as tar:
        for name, content in members.items():
            pickled = pickle.dumps(content)
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size, checksums[name] = len(pickled), hashlib.md5(pickled).hexdigest()
            tar.addfile(info, io.BytesIO(pickled))
    dataset = torchvision.datasets.CIFAR10
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(archive.parent))
    )
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(dataset, "url", f"http://127.0.0.1:{server.server_port}/{archive.name}")
    monkeypatch.setattr(dataset, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
    monkeypatch.setattr(
        dataset, "train_list", [[name, checksums[name]] for name in list(members)[1:6]]
    )
    monkeypatch.setattr(dataset, "test_list", [["test_batch", checksums["test_batch"]]])
    monkeypatch.setattr(dataset, "meta", dataset.meta | {"md5": checksums["batches.meta"]})
    threading.Thread(target=server.serve_forever).start()
    yield server
    server.shutdown()
    server.server_close()


def test_an_empty_folder_is_filled_with_torchvisions_cifar10_once(cifar10_server, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (train_x, _), (test_x, test_y) = load_cifar10(folder)
    assert (len(train_x), len(test_x)) == (20, 4)
    pixels, labels = images(4, seed=5)
    assert torch.equal(test_x, torch.from_numpy(pixels).permute(0, 3, 1, 2))
    assert test_y.tolist() == labels.tolist()
    cifar10_server.shutdown()
    assert torch.equal(load_cifar10(folder)[0][0], train_x)


def test_a_download_that_fails_and_a_damaged_one_are_named(cifar10_server, tmp_path, capsys):
    folder, out = tmp_path / "data", tmp_path / "run"
    folder.mkdir()
    load_cifar10(folder)
    (folder / "cifar-10-batches-py" / "data_batch_3").write_bytes(b"damaged")
    capsys.readouterr()
    assert "cifar-10-batches-py is damaged" in refused(arguments(folder, out), out, capsys)
    cifar10_server.shutdown()
    cifar10_server.server_close()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert f"could not be downloaded into {elsewhere}" in refused(
        arguments(elsewhere, out), out, capsys
    )


def test_each_image_is_shifted_by_up_to_four_pixels_and_half_are_mirrored():
    original = torch.from_numpy(images(60, seed=0)[0]).permute(0, 3, 1, 2).float()
    shown = crop_and_flip(original, torch.Generator().manual_seed(0))
    assert shown.shape == original.shape
    found = set()
    for before, after in zip(original, shown, strict=True):
        padded = torch.nn.functional.pad(before, (4, 4, 4, 4))
        ways = []
        for top, left, mirrored in itertools.product(range(9), range(9), (False, True)):
            crop = padded[:, top : top + 32, left : left + 32]
            if torch.equal(after, crop.flip(2) if mirrored else crop):
                ways.append((top, left, mirrored))
        assert len(ways) == 1
        found.update(ways)
    assert {top for top, _, _ in found} == set(range(9))
    assert {left for _, left, _ in found} == set(range(9))
    assert len(found) > 40
    assert {mirrored for *_, mirrored in found} == {False, True}


# ---- Models and recipes


def test_every_model_takes_small_images_and_has_the_papers_size():
    nets = {name: build().eval() for name, build in MODELS.items()}
    with torch.no_grad():
        assert all(net(torch.zeros(1, 3, 32, 32)).shape == (1, 10) for net in nets.values())
    sizes = {name: sum(p.numel() for p in net.parameters()) for name, net in nets.items()}
    # He et al. 2016, Table 6, in millions
    for depth, millions in {20: 0.27, 32: 0.46, 44: 0.66, 56: 0.85, 110: 1.7}.items():
        assert sizes[f"resnet{depth}"] / 1e6 == pytest.approx(
            millions, abs=0.05 if depth == 110 else 0.006
        )
        assert sizes[f"plain{depth}"] == sizes[f"resnet{depth}"]


def test_the_papers_nets_are_trained_as_in_the_paper():
    def rate(model: str, step: int) -> float:
        return LR * recipe(model).schedule(step / 64_000)

    for model in ("resnet56", "plain20"):
        steps = (0, 31_999, 32_000, 47_999, 48_000, 63_999)
        assert [rate(model, step) for step in steps] == pytest.approx(
            [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]
        )
    assert [rate("resnet110", step) for step in (0, 399, 400)] == pytest.approx([0.01, 0.01, 0.1])
    assert recipe("resnet56").epochs == round(64_000 / 391)
    assert recipe("resnet18").epochs == 30


# ---- Runs beside each other


def copied(run_folder: Path, folder: Path, *, logged: int = 2, **settings) -> Path:
    """A run's record with other settings and the first of its epochs."""
    folder.mkdir()
    record = json.loads((run_folder / "run.json").read_text())
    record["settings"] |= settings
    (folder / "run.json").write_text(json.dumps(record))
    if logged:
        lines = (run_folder / "log.csv").read_text().splitlines()[: logged + 1]
        (folder / "log.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_curves_of_runs_are_their_logs_with_what_made_them(whole_run, tmp_path, capsys):
    runs = [
        whole_run,
        copied(whole_run, tmp_path / "shorter", model="plain20", logged=1),
        copied(whole_run, tmp_path / "again", model="plain20", seed=7),
        copied(whole_run, tmp_path / "begun", model="plain56", logged=0),
    ]
    out = tmp_path / "curves.json"
    assert curves_of([*map(str, runs), "--out", str(out)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "resnet20, seed 0: 2 of 2 epochs", "plain20, seed 0: 1 of 2 epochs",
        "plain20, seed 7: 2 of 2 epochs", "plain56, seed 0: 0 of 2 epochs",
    ]  # fmt: skip
    table, about = read_result(out)
    assert table.select("model", "seed").rows() == [
        ("resnet20", 0), ("resnet20", 0), ("plain20", 0), ("plain20", 7), ("plain20", 7),
    ]  # fmt: skip
    for row, logged in zip(table.to_dicts(), rows(whole_run), strict=False):
        assert row["epoch"] == int(logged["epoch"])
        for part in ("train", "test"):
            assert row[f"{part}_loss"] == pytest.approx(float(logged[f"{part}_loss"]), abs=1e-4)
            right = float(logged[f"{part}_accuracy"])
            assert row[f"{part}_error"] == pytest.approx(1 - right, abs=1e-4)
    assert "a lossy copy" in about["data"] and about["epochs"] == 2
    assert len(about["runs"]) == 4
    assert "--model resnet20" in about["runs"]["resnet20, seed 0"][0]["command"]


def test_runs_that_cannot_be_compared_are_refused_in_one_line(whole_run, tmp_path, capsys):
    out = tmp_path / "curves.json"
    for number, (settings, why) in enumerate([
        ({"model": "plain20", "data": "other"}, "has data 'other'"),
        ({"seed": 7, "epochs": 3}, "has epochs 3, not 2"),
        ({}, "second run of resnet20, seed 0"),
    ]):  # fmt: skip
        other = copied(whole_run, tmp_path / str(number), **settings)
        assert curves_of([str(whole_run), str(other), "--out", str(out)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert why in line
    begun = copied(whole_run, tmp_path / "begun", logged=0)
    assert curves_of([str(begun), "--out", str(out)]) == 2
    assert curves_of([str(tmp_path), "--out", str(out)]) == 2
    nothing, nowhere = capsys.readouterr().err.splitlines()
    assert "no run has a finished epoch" in nothing and "it has no run.json" in nowhere
    assert not out.exists()
