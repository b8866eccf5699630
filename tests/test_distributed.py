"""Several processes that train one net: the run of one process, and one voice when it fails."""

import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_cifar10 import write_split

from nbsrc.cifar10.__main__ import main
from nbsrc.cifar10.run import Run
from nbsrc.support.tensors import read_tensors

# In double precision, what two processes round otherwise than one stays out of sight.
EXACT = """
import json, sys
import torch
from nbsrc.cifar10.distributed import team
from nbsrc.resnet import cifar_resnet
from nbsrc.training import one_cycle, sgd, train_epochs

torch.manual_seed(0)
x, y = torch.randn(37, 3, 8, 8, dtype=torch.float64), torch.arange(37) % 10
net = cifar_resnet(8, width=4).double()
with team() as together:
    optimizer = sgd(net, lr=0.05, momentum=0.9, weight_decay=1e-4)
    held = together.share(x), together.share(y)
    rows = [
        together.total(row, weights={"train": 1.0, "validation": len(held[1]) / len(y)})
        for row in train_epochs(
            together.joined(net), optimizer, x, y, epochs=3, batch_size=13, lr=0.05,
            schedule=one_cycle, seed=0, device=together.device, validation=held,
            augment=lambda batch, g: batch + torch.randn(batch.shape, generator=g),
            label_smoothing=0.1, share=(together.rank, together.size),
        )
    ]
    if not together.rank:
        weights = {name: tensor.tolist() for name, tensor in net.state_dict().items()}
        json.dump({"rows": rows, "weights": weights}, open(sys.argv[1], "w"))
"""


@pytest.fixture
def torchrun():
    """What `torchrun --nproc-per-node 2` does with its further arguments."""

    def ran(*arguments: str, **options) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
        return subprocess.run(
            [*command, *arguments], capture_output=True, text=True, timeout=300,
            env=os.environ | {"OMP_NUM_THREADS": "1"}, **options,
        )  # fmt: skip

    return ran


def test_two_processes_take_the_steps_of_one_batch_statistics_included(
    torchrun, tmp_path, monkeypatch
):
    script, outs = tmp_path / "exact.py", [str(tmp_path / "one.json"), str(tmp_path / "two.json")]
    script.write_text(EXACT)
    monkeypatch.setattr(sys, "argv", ["", outs[0]])
    runpy.run_path(str(script))
    done = torchrun(str(script), outs[1])
    assert done.returncode == 0, done.stderr
    one, two = (json.loads(Path(out).read_text()) for out in outs)
    for row, other in zip(one["rows"], two["rows"], strict=True):
        assert other == pytest.approx(row, rel=1e-5), "float32 sums of the epoch's losses"
    for name, values in one["weights"].items():
        torch.testing.assert_close(
            torch.tensor(two["weights"][name], dtype=torch.float64),
            torch.tensor(values, dtype=torch.float64),
            rtol=1e-9,
            atol=1e-10,
        )


def test_a_run_of_one_process_is_gone_on_with_by_two_and_the_first_writes(
    torchrun, tmp_path, monkeypatch
):
    for split, n in (("train", 130), ("test", 41)):
        write_split(tmp_path, split, n)
    out, save = tmp_path / "run", Run.save
    options = ["--model", "resnet20", "--epochs", "2", "--data", str(tmp_path), "--out", str(out)]

    def interrupted(run, *rest):
        save(run, *rest)
        if len(run.rows) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Run, "save", interrupted)
    assert main(options) == 130
    shutil.copytree(out, tmp_path / "other")
    monkeypatch.undo()
    assert main([*options, "--resume"]) == 0
    one, _ = Run.load(out)
    shutil.rmtree(out)
    shutil.copytree(tmp_path / "other", out)

    done = torchrun("-m", "nbsrc.cifar10", *options, "--resume")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch 2/2") == 1 and "Traceback" not in done.stderr
    two, _ = Run.load(out)
    names = ("epoch", "lr", "train_loss", "train_accuracy", "test_loss", "test_accuracy")
    for name in names:
        assert two.rows[1][name] == pytest.approx(one.rows[1][name], rel=1e-3), name
    assert sorted(path.name for path in out.iterdir()) == [
        "checkpoint.safetensors", "log.csv", "run.json",
    ]  # fmt: skip
    assert [session["processes"] for session in two.sessions] == [1, 2]
    assert two.sessions[1]["command"].startswith("torchrun --nproc-per-node 2 -m nbsrc.cifar10 ")
    assert not any("module." in name for name in read_tensors(out / "checkpoint.safetensors")[0])


def test_bad_input_is_one_line_and_not_one_a_process(torchrun, tmp_path):
    options = ["--model", "resnet2", "--data", str(tmp_path)]
    done = torchrun("-m", "nbsrc.cifar10", *options, cwd=tmp_path)
    assert done.returncode and not done.stdout
    own = [line for line in done.stderr.splitlines() if line.startswith("nbsrc.cifar10: ")]
    assert len(own) == 1 and list(tmp_path.iterdir()) == []
