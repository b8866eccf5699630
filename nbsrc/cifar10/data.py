"""CIFAR-10's images as tensors: from Parquet files, or downloaded by torchvision."""

import hashlib
import io
from pathlib import Path

import numpy as np
import polars as pl
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

Split = tuple[Tensor, Tensor]


def load_cifar10(data: Path | str) -> tuple[Split, Split]:
    """CIFAR-10 from the folder `data`, as (train_x, train_y), (test_x, test_y).

    The folder holds either torchvision's CIFAR-10 (downloaded into it if there is nothing yet) or
    `train.parquet` and `test.parquet` with the columns `image` (an encoded image, or a struct with
    its `bytes`) and `label` (int).

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
    from torchvision.datasets import CIFAR10

    there = (folder / "cifar-10-batches-py").exists()
    try:
        dataset = CIFAR10(str(folder), train=train, download=not there)
    except OSError as error:
        raise OSError(f"CIFAR-10 could not be downloaded into {folder}: {error}") from error
    except RuntimeError as error:  # torchvision compares checksums before it opens a file
        raise ValueError(
            f"{folder / 'cifar-10-batches-py'} is damaged: remove it to download it again"
        ) from error
    images = torch.from_numpy(dataset.data).permute(0, 3, 1, 2).contiguous()
    return images, torch.tensor(dataset.targets)


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
        # what Pillow raises, by format and damage
        except (OSError, SyntaxError, ValueError) as error:
            raise ValueError(
                f"{path}, row {row}: the image is damaged, {len(image or b'')} bytes long"
            ) from error
        if decoded.shape != (32, 32, 3):
            raise ValueError(
                f"{path}, row {row}: the image must be 32 x 32 pixels, however: {decoded.shape[:2]}"
            )
        images[row] = decoded
    numbers = labels.cast(pl.Int64).to_torch()
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), numbers


def describe(data: Path, splits: tuple[Split, Split]) -> str:
    """Which images these are: their source, how they were stored, a checksum of pixels and
    labels."""
    source = "torchvision's CIFAR-10"
    if (data / "train.parquet").exists():
        first = pl.scan_parquet(data / "train.parquet").select("image").head(1).collect().item()
        first = first["bytes"] if isinstance(first, dict) else first
        lossy = first.startswith(b"\xff\xd8")
        kind = "JPEG images, a lossy copy" if lossy else "losslessly stored images"
        source = f"Parquet files of {kind}"
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
