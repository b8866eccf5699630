"""A model on disk, without pickle: its weights, and what builds it again."""

from pathlib import Path

from nbsrc.selfsupervised.model import MaskedModel
from nbsrc.support.tensors import read_tensors, write_tensors
from nbsrc.tabular.network import TabularResNet

FORMAT = 1


def save_model(model: MaskedModel, path: Path) -> None:
    """Write the model as one file, in place of what is there."""
    about = {
        "format": FORMAT,
        "model": model.model.arguments,
        "numeric": model.numeric_names,
        "categorical": model.categorical_names,
    }
    write_tensors(path, model.state_dict(), about)


def load_model(path: Path) -> MaskedModel:
    """Read what `save_model` wrote, onto the CPU, in eval mode. Raises ValueError if the file is
    something else."""
    tensors, about = read_tensors(path)
    try:
        if about["format"] != FORMAT:
            raise ValueError(f"its format is {about['format']}")
        model = MaskedModel(
            TabularResNet(**about["model"]),
            numeric_names=about["numeric"],
            categorical_names=about["categorical"],
        )
        model.load_state_dict(tensors)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:  # Runtime: other shapes
        raise ValueError(f"{path} holds no model of this version: train it again") from error
    return model.eval()
