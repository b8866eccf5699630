"""The command: `python -m nbsrc.cifar10 --model resnet18 --epochs 30 --data DIR`, or the same after
`torchrun --nproc-per-node 2 -m nbsrc.cifar10` for two processes that train one net."""

import argparse
import difflib
import os
import shlex
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from nbsrc.cifar10.data import crop_and_flip, describe, load_cifar10, normalize
from nbsrc.cifar10.distributed import Team, first_speaks, team
from nbsrc.cifar10.recipes import BATCH_SIZE, LR, MODELS, MOMENTUM, recipe
from nbsrc.cifar10.run import CHECKPOINT, Run, restore, session
from nbsrc.support.command import parser, run
from nbsrc.training import sgd, train_epochs

PROG = "python -m nbsrc.cifar10"
# fmt: off
OPTIONS: dict[str, dict[str, Any]] = {
    "--model": {"default": "resnet18", "metavar": "NAME",
        "help": f"one of {', '.join(MODELS)} (default: %(default)s)"},
    "--epochs": {"type": int, "metavar": "N",
        "help": "default: 30, or as in the paper 164 for the nets of its CIFAR-10 study"},
    "--data": {"type": Path, "required": True, "metavar": "DIR",
        "help": "where CIFAR-10 is, or is downloaded to"},
    "--out": {"type": Path, "metavar": "DIR",
        "help": "where the run is written (default: runs/cifar10-NAME)"},
    "--seed": {"type": int, "default": 0, "metavar": "N",
        "help": "of the weights, the order and the crops (default: 0)"},
    "--resume": {"action": "store_true",
        "help": "go on with the run in --out, after its last finished epoch"},
}
# fmt: on


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    about = """\
Train a residual network on CIFAR-10, on CUDA where there is a device, else on
the CPU."""
    args = parser(PROG, about, "", OPTIONS).parse_args(argv)
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
            "--epochs must be at least 1 and --seed at least 0, however: "
            f"{args.epochs}, {args.seed}"
        )
    if args.out.exists() and not args.out.is_dir():
        raise ValueError(f"--out {args.out} is a file: choose another")
    if not args.resume and args.out.is_dir() and any(args.out.iterdir()):
        raise ValueError(
            f"{args.out} is not empty: add --resume to go on with its run, or choose another --out"
        )


def _train(args: argparse.Namespace, command: str, together: Team) -> None:
    before, tensors = Run.load(args.out) if args.resume else (None, {})
    with together.first():  # which may download it
        splits = load_cifar10(args.data)
    how = recipe(args.model)
    settings = {
        "model": args.model,
        "epochs": args.epochs or how.epochs,
        "seed": args.seed,
        "data": describe(args.data, splits),
    }
    current = before or Run(settings, [], [])
    for name, value in settings.items():
        if current.settings.get(name) != value:
            raise ValueError(
                f"the run in {args.out} has {name} {current.settings.get(name)!r}, not {value!r}: "
                "repeat its command with --resume, or choose another --out"
            )
    done = len(current.rows)
    if done >= settings["epochs"]:
        print(f"The run in {args.out} is finished: it has all of its {done} epochs.")
        return

    device, leads = together.device, together.rank == 0
    torch.manual_seed(args.seed)
    # channels last: the order in which convolutions are faster, on CPUs as on CUDA
    model = MODELS[args.model]().to(device).to(memory_format=torch.channels_last)
    optimizer = sgd(
        model, lr=LR, momentum=MOMENTUM, weight_decay=how.weight_decay, nesterov=how.nesterov
    )
    if args.resume:
        restore(tensors, model, optimizer)
    current.sessions.append(session(command, device, done + 1) | {"processes": together.size})
    joined = together.joined(model)
    if leads:
        args.out.mkdir(parents=True, exist_ok=True)
        current.save(args.out, model, optimizer)

    (train_images, train_labels), test = splits
    test_images, test_labels = map(together.share, test)
    epochs = train_epochs(
        joined, optimizer, normalize(train_images.to(device)), train_labels,
        epochs=settings["epochs"], start_epoch=done, batch_size=BATCH_SIZE, lr=LR,
        schedule=how.schedule, label_smoothing=how.label_smoothing, seed=args.seed, device=device,
        validation=(normalize(test_images.to(device)), test_labels), augment=crop_and_flip,
        share=(together.rank, together.size),
    )  # fmt: skip
    started = time.perf_counter()
    for measured in epochs:
        row = {name.replace("validation", "test"): value for name, value in measured.items()}
        row = together.total(row, weights={"train": 1.0, "test": len(test_labels) / len(test[1])})
        row["seconds"] = round(time.perf_counter() - started, 2)
        started = time.perf_counter()
        current.rows.append(row)
        if leads:
            current.save(args.out, model, optimizer)
        tqdm.write(
            f"epoch {row['epoch']}/{settings['epochs']}: train loss {row['train_loss']:.4f}, "
            f"test loss {row['test_loss']:.4f}, test accuracy {row['test_accuracy']:.2%}"
        )
    print(f"Wrote checkpoint.safetensors, log.csv and run.json into {args.out}.")


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit status: 0, 2 for bad input, 130 after Ctrl-C."""
    return first_speaks(partial(_main, argv))


def _main(argv: list[str] | None) -> int:
    args = _arguments(argv)
    processes = int(os.environ.get("WORLD_SIZE", 1))
    start = f"torchrun --nproc-per-node {processes} -m {__package__}" if processes > 1 else PROG
    command = shlex.join([*start.split(), *(sys.argv[1:] if argv is None else argv)])

    def work() -> None:
        _check(args)
        with team() as together:
            _train(args, command, together)

    def interrupted() -> str:
        if not (args.out / CHECKPOINT).exists():
            return "Nothing written."
        return f"Go on with: {command if args.resume else f'{command} --resume'}"

    return run(PROG, work, interrupted=interrupted)


if __name__ == "__main__":
    sys.exit(main())
