"""A folder like a Parquet copy of CIFAR-10, small and learnable, made on the spot."""

import io
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image


def images(n: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise, (n, 32, 32, 3) uint8, in one colour per class, so that a net can learn it; labels
    (n,)."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 10
    colours = np.random.default_rng(0).integers(40, 215, (10, 1, 1, 3))
    return (colours[labels] + rng.integers(-40, 40, (n, 32, 32, 3))).astype(np.uint8), labels


def encode(image: np.ndarray, kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind)
    return file.getvalue()


def write_split(
    folder: Path, split: str, n: int, *, kind: str = "PNG", struct: bool = False
) -> None:
    pixels, labels = images(n, seed=len(split))
    encoded = [encode(image, kind) for image in pixels]
    column = [{"bytes": image, "path": None} for image in encoded] if struct else encoded
    pl.DataFrame({"image": column, "label": labels}).write_parquet(folder / f"{split}.parquet")
