"""Train a residual network on CIFAR-10: `python -m nbsrc.cifar10 --model resnet18 --epochs 30
--data DIR`.

DIR holds either torchvision's CIFAR-10 (downloaded into it if there is nothing yet) or
`train.parquet` and `test.parquet` with the columns `image` (an encoded image, or a struct with its
`bytes`) and `label` (int).

A run writes three files, each replaced as a whole after every epoch, so that they are never
half-written: `checkpoint.safetensors` (weights under `model.`, SGD's momentum under `momentum.`,
and all that follows as metadata), `log.csv` (one row per epoch) and `run.json` (what was run, when,
on what, with which versions and data)."""

import argparse
import csv
import difflib
import hashlib
import io
import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL
import polars as pl
import safetensors
import safetensors.torch
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm  # type: ignore[import-untyped]

from nbsrc.blocks import PlainBlock
from nbsrc.resnet import cifar_resnet, resnet18, resnet34, resnet50, resnet101, resnet152
from nbsrc.training import default_device, one_cycle, sgd, train_epochs

Split = tuple[Tensor, Tensor]

# ---- Data


def load_cifar10(data: Path | str) -> tuple[Split, Split]:
    """CIFAR-10 from the folder `data` (see the top of the module), as (train_x, train_y), (test_x,
    test_y).

    Shape: images (n, 3, 32, 32), uint8; labels (n,), int64, 0 to 9. The whole set has 50,000 and
    10,000.

    Raises FileNotFoundError if the folder, or one of the two Parquet files, is missing; ValueError,
    naming file and row (from 0), if an image or a label is damaged; OSError if CIFAR-10 can't be
    downloaded."""
    folder = Path(data)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"no data folder {folder}: create it to have CIFAR-10 downloaded there"
        )
    if any((folder / f"{split}.parquet").exists() for split in ("train", "test")):
        return _read_parquet(folder / "train.parquet"), _read_parquet(folder / "test.parquet")
    return _torchvision_split(folder, train=True), _torchvision_split(folder, train=False)


def _torchvision_split(folder: Path, *, train: bool) -> Split:
    # Not at the top: torchvision takes seconds to import, which a typo or Parquet files should not
    # wait for.
    from torchvision.datasets import CIFAR10  # type: ignore[import-untyped]

    there = (folder / "cifar-10-batches-py").exists()
    try:
        dataset = CIFAR10(str(folder), train=train, download=not there)
    except OSError as error:
        raise OSError(f"CIFAR-10 could not be downloaded into {folder}: {error}") from error
    except RuntimeError as error:  # torchvision compares checksums before it opens a file
        raise ValueError(
            f"{folder / 'cifar-10-batches-py'} is damaged: remove it to download it again"
        ) from error
    return torch.from_numpy(dataset.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(
        dataset.targets
    )


def _read_parquet(path: Path) -> Split:
    if not path.is_file():
        raise FileNotFoundError(
            f"no file {path}: a folder with one of train.parquet and test.parquet needs both"
        )
    try:
        table = pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        raise ValueError(
            f"{path} is not a readable Parquet file: {str(error).splitlines()[0]}"
        ) from error
    if missing := {"image", "label"} - set(table.columns):
        raise ValueError(f"{path} has no column {min(missing)!r}, but {', '.join(table.columns)}")
    encoded, labels = table["image"], table["label"]
    if isinstance(encoded.dtype, pl.Struct) and "bytes" in encoded.struct.fields:
        encoded = encoded.struct.field("bytes")
    if encoded.dtype != pl.Binary or not labels.dtype.is_integer():
        raise ValueError(
            f"{path}: image must be bytes and label int, however: {encoded.dtype}, {labels.dtype}"
        )
    if table.is_empty():
        raise ValueError(f"{path} has no rows")
    wrong = (~labels.is_between(0, 9)).fill_null(True).arg_true()
    if len(wrong):
        raise ValueError(
            f"{path}, row {wrong[0]}: the label must be 0 to 9, however: {labels[wrong[0]]}"
        )
    images = np.empty((len(table), 32, 32, 3), np.uint8)
    for row, image in enumerate(encoded):
        try:
            decoded = np.asarray(Image.open(io.BytesIO(image or b"")).convert("RGB"))
        except (
            OSError,
            SyntaxError,
            ValueError,
        ) as error:  # what Pillow raises, by format and damage
            raise ValueError(
                f"{path}, row {row}: the image is damaged, {len(image or b'')} bytes long"
            ) from error
        if decoded.shape != (32, 32, 3):
            raise ValueError(
                f"{path}, row {row}: the image must be 32 x 32 pixels, however: {decoded.shape[:2]}"
            )
        images[row] = decoded
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), labels.cast(
        pl.Int64
    ).to_torch()


def _describe(data: Path, splits: tuple[Split, Split]) -> str:
    """Which images these are: their source, how they were stored, a checksum of pixels and
    labels."""
    source = "torchvision's CIFAR-10"
    if (data / "train.parquet").exists():
        first = pl.scan_parquet(data / "train.parquet").select("image").head(1).collect().item()
        first = first["bytes"] if isinstance(first, dict) else first
        lossy = first.startswith(b"\xff\xd8")
        source = f"Parquet files of {'JPEG images, a lossy copy' if lossy else 'losslessly stored images'}"
    checksum = hashlib.sha256()
    for tensor in (tensor for split in splits for tensor in split):
        checksum.update(tensor.numpy().data)
    (train, _), (test, _) = splits
    return f"{source}; {len(train)} and {len(test)} images; sha256 {checksum.hexdigest()[:16]}"


def normalize(images: Tensor) -> Tensor:
    """(n, 3, 32, 32) uint8 -> float32, each channel of mean 0 and deviation 1 over CIFAR-10's train
    split.

    NOTE[DIFF]: He et al. 2016 subtract the mean image, pixel by pixel, and don't divide.
    """
    mean = torch.tensor([0.4914, 0.4822, 0.4465], device=images.device).view(3, 1, 1)
    std = torch.tensor([0.2470, 0.2435, 0.2616], device=images.device).view(3, 1, 1)
    return images.float().div_(255).sub_(mean).div_(std)


def crop_and_flip(images: Tensor, generator: torch.Generator, *, padding: int = 4) -> Tensor:
    """Shift each image by up to `padding` pixels, zeros coming in; mirror half of them (He et al.
    2016, 4.2).

    Shape: (n, channels, height, width) -> the same. Each image has its own draw from the generator.
    """
    n, channels, height, width = images.shape
    device = images.device
    top, left = torch.randint(2 * padding + 1, (2, n, 1), generator=generator, device=device)
    mirrored = torch.rand(n, 1, generator=generator, device=device) < 0.5
    rows = top + torch.arange(height, device=device)
    columns = torch.arange(width, device=device)
    columns = left + torch.where(mirrored, columns.flip(0), columns)
    padded = F.pad(images, (padding,) * 4)
    image, channel = torch.arange(n, device=device), torch.arange(channels, device=device)
    return padded[
        image[:, None, None, None],
        channel[:, None, None],
        rows[:, None, :, None],
        columns[:, None, None],
    ]


# ---- Models and recipes


class Recipe(NamedTuple):
    """How a net is trained, as far as the two recipes differ."""

    epochs: int
    schedule: Callable[[float], float]
    weight_decay: float
    nesterov: bool
    label_smoothing: float


def paper_drops(fraction: float) -> float:
    """He et al. 2016, 4.2: the rate drops tenfold after 32k and after 48k of 64k steps."""
    return 1.0 if fraction < 0.5 else 0.1 if fraction < 0.75 else 0.01


def paper_drops_after_warmup(fraction: float) -> float:
    """He et al. 2016, 4.2, for 110 layers: a tenth of the rate until the net learns, about 400
    steps.

    NOTE[DIFF]: the paper waits for a training error below 80%, which took it about 400 of its 64k
    steps."""
    return 0.1 if fraction < 400 / 64_000 else paper_drops(fraction)


LR, MOMENTUM, BATCH_SIZE = 0.1, 0.9, 128  # of both

# He et al. 2016, 4.2: 64k steps of 128 images are 164 epochs.
PAPER = Recipe(164, paper_drops, 1e-4, nesterov=False, label_smoothing=0.0)
# What short ResNet-18 runs on CIFAR-10 commonly use: weight decay 5e-4 and Nesterov momentum
# (Zagoruyko and Komodakis 2016, arXiv:1605.07146, 3), one cycle of the rate (Smith and Topin 2018,
# arXiv:1708.07120), and label smoothing (Szegedy et al. 2016, arXiv:1512.00567, 7), with the
# paper's crops and flips.
SHORT = Recipe(30, one_cycle, 5e-4, nesterov=True, label_smoothing=0.1)

_DEPTHS = (20, 32, 44, 56, 110)
_IMAGENET_NETS: dict[str, Callable[[], nn.Module]] = {
    net.__name__: partial(net, num_classes=10, stem="cifar")
    for net in (resnet18, resnet34, resnet50, resnet101, resnet152)
}
_PAPER_NETS: dict[str, Callable[[], nn.Module]] = {
    **{f"resnet{depth}": partial(cifar_resnet, depth) for depth in _DEPTHS},
    **{f"plain{depth}": partial(cifar_resnet, depth, block=PlainBlock) for depth in _DEPTHS},
}
MODELS = _IMAGENET_NETS | _PAPER_NETS


def recipe(model: str) -> Recipe:
    """The recipe for a name of `MODELS`: the paper's for its own nets, else the short one."""
    if model in _IMAGENET_NETS:
        return SHORT
    return PAPER._replace(schedule=paper_drops_after_warmup) if model.endswith("110") else PAPER


# ---- A run and its files


class Run(NamedTuple):
    """What a run is, beside its tensors: written to all of its files, read back from the
    checkpoint."""

    settings: dict[str, Any]  # what must be equal for a run to be resumed
    sessions: list[dict[str, Any]]  # one for every time the command was started
    rows: list[dict[str, float]]  # one for every finished epoch


def _save(out: Path, run: Run, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        if "momentum_buffer" in optimizer.state[parameter]:
            tensors[f"momentum.{name}"] = optimizer.state[parameter]["momentum_buffer"]
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    metadata = {name: json.dumps(value) for name, value in run._asdict().items()}
    _replace(out / "checkpoint.safetensors", safetensors.torch.save(tensors, metadata))
    log = io.StringIO(newline="")
    if run.rows:
        writer = csv.DictWriter(log, list(run.rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(run.rows)
        _replace(out / "log.csv", log.getvalue().encode())
    result = {"epochs": len(run.rows), "seconds": sum(row["seconds"] for row in run.rows)} | (
        {"test_accuracy": run.rows[-1]["test_accuracy"]} if run.rows else {}
    )
    document = {"settings": run.settings, "sessions": run.sessions, "result": result}
    _replace(out / "run.json", (json.dumps(document, indent=2) + "\n").encode())


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f"{path.name}.part")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _load(out: Path) -> tuple[Run, dict[str, Tensor]]:
    """The run in the folder `out` and its checkpoint's tensors."""
    path = out / "checkpoint.safetensors"
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint {path}: leave out --resume to start a run")
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            run = Run(**{name: json.loads(metadata[name]) for name in Run._fields})
            return run, safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise ValueError(f"{path} is damaged, or no checkpoint of this command: {error}") from error


def _restore(
    tensors: dict[str, Tensor], model: nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    weights = {
        name.removeprefix("model."): tensor
        for name, tensor in tensors.items()
        if name.startswith("model.")
    }
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(
            f"the checkpoint's tensors don't fit the model: {str(error).splitlines()[-1].strip()}"
        ) from error
    for name, parameter in model.named_parameters():
        if (momentum := tensors.get(f"momentum.{name}")) is not None:
            buffer = torch.empty_like(parameter, requires_grad=False)
            optimizer.state[parameter]["momentum_buffer"] = buffer.copy_(momentum)


def _session(command: str, device: torch.device, first_epoch: int) -> dict[str, Any]:
    cuda = device.type == "cuda"
    cpu = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    return {
        "command": command,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "first_epoch": first_epoch,
        "hardware": torch.cuda.get_device_name(device) if cuda else cpu,
        "precision": "bf16 autocast" if cuda else "fp32",
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "pillow": PIL.__version__,
        },
    }


# ---- The command


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m nbsrc.cifar10",
        description="Train a residual network on CIFAR-10, on CUDA where there is a device, else on the CPU.",
    )
    add = parser.add_argument
    add(
        "--model",
        default="resnet18",
        metavar="NAME",
        help=f"one of {', '.join(MODELS)} (default: %(default)s)",
    )
    add(
        "--epochs",
        type=int,
        metavar="N",
        help="default: 30; for the nets of the paper's CIFAR-10 study 164, as there",
    )
    add(
        "--data",
        type=Path,
        required=True,
        metavar="DIR",
        help="where CIFAR-10 is, or is downloaded to",
    )
    add(
        "--out",
        type=Path,
        metavar="DIR",
        help="where the run is written (default: runs/cifar10-NAME)",
    )
    add(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="of the weights, the order and the crops (default: 0)",
    )
    add(
        "--resume",
        action="store_true",
        help="go on with the run in --out, after its last finished epoch",
    )
    args = parser.parse_args(argv)
    args.out = args.out or Path("runs") / f"cifar10-{args.model}"
    return args


def _check(args: argparse.Namespace) -> None:
    if args.model not in MODELS:
        nearest = difflib.get_close_matches(args.model, MODELS, n=3, cutoff=0)
        raise ValueError(
            f"no model {args.model!r}; the nearest names: {', '.join(nearest)} (--help lists all)"
        )
    if (args.epochs is not None and args.epochs < 1) or args.seed < 0:
        raise ValueError(
            f"--epochs must be at least 1 and --seed at least 0, however: {args.epochs}, {args.seed}"
        )
    if args.out.exists() and not args.out.is_dir():
        raise ValueError(f"--out {args.out} is a file: choose another")
    if not args.resume and args.out.is_dir() and any(args.out.iterdir()):
        raise ValueError(
            f"{args.out} is not empty: add --resume to go on with its run, or choose another --out"
        )


def _train(args: argparse.Namespace, command: str) -> None:
    run, tensors = _load(args.out) if args.resume else (None, {})
    splits = load_cifar10(args.data)
    how = recipe(args.model)
    settings = {
        "model": args.model,
        "epochs": args.epochs or how.epochs,
        "seed": args.seed,
        "data": _describe(args.data, splits),
    }
    run = run or Run(settings, [], [])
    for name, value in settings.items():
        if run.settings.get(name) != value:
            raise ValueError(
                f"the run in {args.out} has {name} {run.settings.get(name)!r}, not {value!r}: "
                "repeat its command with --resume, or choose another --out"
            )
    done = len(run.rows)
    if done >= settings["epochs"]:
        print(f"The run in {args.out} is finished: it has all of its {done} epochs.")
        return

    device = default_device()
    torch.manual_seed(args.seed)
    model = MODELS[args.model]().to(device)
    optimizer = sgd(
        model, lr=LR, momentum=MOMENTUM, weight_decay=how.weight_decay, nesterov=how.nesterov
    )
    if args.resume:
        _restore(tensors, model, optimizer)
    run.sessions.append(_session(command, device, done + 1))
    args.out.mkdir(parents=True, exist_ok=True)
    _save(args.out, run, model, optimizer)

    (train_images, train_labels), (test_images, test_labels) = splits
    epochs = train_epochs(
        model, optimizer, normalize(train_images.to(device)), train_labels,
        epochs=settings["epochs"], batch_size=BATCH_SIZE, lr=LR, schedule=how.schedule, seed=args.seed,
        device=device, validation=(normalize(test_images.to(device)), test_labels), augment=crop_and_flip,
        label_smoothing=how.label_smoothing, start_epoch=done,
    )  # fmt: skip
    started = time.perf_counter()
    for measured in epochs:
        row = {name.replace("validation", "test"): value for name, value in measured.items()}
        row["seconds"] = round(time.perf_counter() - started, 2)
        started = time.perf_counter()
        run.rows.append(row)
        _save(args.out, run, model, optimizer)
        tqdm.write(
            f"epoch {row['epoch']}/{settings['epochs']}: train loss {row['train_loss']:.4f}, "
            f"test loss {row['test_loss']:.4f}, test accuracy {row['test_accuracy']:.2%}"
        )
    print(f"Wrote checkpoint.safetensors, log.csv and run.json into {args.out}.")


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit status: 0, 2 for bad input, 130 after Ctrl-C."""
    args = _arguments(argv)
    command = shlex.join(
        ["python", "-m", "nbsrc.cifar10", *(sys.argv[1:] if argv is None else argv)]
    )
    try:
        _check(args)
        _train(args, command)
    except (OSError, ValueError) as error:
        print(f"nbsrc.cifar10: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        again = command if args.resume else f"{command} --resume"
        begun = (args.out / "checkpoint.safetensors").exists()
        print(
            f"Interrupted. {f'Go on with: {again}' if begun else 'Nothing written.'}",
            file=sys.stderr,
        )
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
