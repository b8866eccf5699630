"""Learning without labels: hide some of an event's objects and predict them, replace some and find
out which.

Masked-feature modelling is the tabular relative of BERT's masked words (Devlin et al. 2019,
arXiv:1810.04805, Sec. 3.1); telling replaced parts from original ones that of ELECTRA (Clark et al.
2020, arXiv:2003.10555). Rubachev et al. 2022 (arXiv:2207.03208, Sec. 3) compare both for tabular
networks.

`nbsrc.training`, which the bar, the device and the schedule come from, stands on the same floor:
the one exception to the rule that a module imports only from the floors below."""

import hashlib
import json
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm  # type: ignore[import-untyped]

from nbsrc.tabular.encoded import EncodedEvents
from nbsrc.tabular.network import TabularResNet
from nbsrc.training import default_device, one_cycle, watched

MASKED_SHARE = 0.35  # of an event's objects, in training
REPLACED_SHARE = 0.3  # of an event's objects, in training
REPLACED_WEIGHT = 0.5  # of the replaced-object loss, beside the masked-field loss
TRIMMED_SHARE = 0.03  # of a batch's events, the least likely ones: a baseline is never clean
# of a quantity's Laplace likelihood, in the encoder's units: finer differences surprise little
SMALLEST_SCALE = 0.4
FEWEST_EVENTS = 100  # to learn from
UNSEEN = 1  # the encoder's index for a category that it has not seen


def objects_of(names: Sequence[str]) -> list[str]:
    """The object that each column belongs to: its name up to the first dot; the fields of the event
    itself are one, "".

    Where most columns are fields of the event itself, events are flat, and each field is an object
    of its own.

    >>> objects_of(["actor.user.name", "actor.user.uid", "device.ip", "count", "time.hour_sin", "count.present"])
    ['actor', 'actor', 'device', '', 'time', '']
    >>> objects_of(["ip", "path", "bytes", "bytes.present"])
    ['ip', 'path', 'bytes', 'bytes']
    """
    whole = [base if (base := name.removesuffix(".present")) in names else name for name in names]
    flat = 2 * sum("." not in name for name in whole) > len(whole)
    return [name.partition(".")[0] if flat or "." in name else "" for name in whole]


class FieldsHead(nn.Module):
    """Negative log-likelihood, in nats, of some of an event's fields, predicted from its embedding.

    Outputs of the one linear layer: location and scale of a Laplace distribution for each quantity,
    whose likelihood is robust: an error pulls equally hard however large it is; the logits of each
    category. A quantity's likelihood is its density in units of the highest one that the head can
    give, so that no field's likelihood exceeds one. numeric, categorical: the columns of the two
    arrays that it predicts.

    Shape: (rows, d_block), and the two arrays' own columns -> (rows, len(numeric) +
    len(categorical))"""

    numeric: Tensor
    categorical: Tensor
    first: Tensor
    column: Tensor

    def __init__(
        self,
        d_block: int,
        numeric: Sequence[int],
        categorical: Sequence[int],
        cardinalities: Sequence[int],
    ) -> None:
        super().__init__()
        sizes = torch.tensor([cardinalities[column] for column in categorical], dtype=torch.int64)
        self.register_buffer("numeric", torch.tensor(numeric, dtype=torch.int64), persistent=False)
        self.register_buffer(
            "categorical", torch.tensor(categorical, dtype=torch.int64), persistent=False
        )
        self.register_buffer("first", sizes.cumsum(0) - sizes, persistent=False)
        column = torch.eye(len(sizes)).repeat_interleave(sizes, 0)
        self.register_buffer(
            "column", column, persistent=False
        )  # (logits, columns): which logit is of which column
        self.outputs = nn.Linear(d_block, 2 * len(numeric) + int(sizes.sum()))

    def forward(self, embedding: Tensor, numeric: Tensor, categorical: Tensor) -> Tensor:
        n = len(self.numeric)
        location, spread, logits = self.outputs(embedding).split([n, n, len(self.column)], 1)
        scale = SMALLEST_SCALE + F.softplus(spread)
        laplace = (numeric - location).abs() / scale + torch.log(scale / SMALLEST_SCALE)
        # All columns' softmaxes at once: logits within +-30 need no shift before the exponential.
        logits = logits.clamp(-30, 30)
        normalizer = (logits.exp() @ self.column).log()
        return torch.cat([laplace, normalizer - logits.gather(1, categorical + self.first)], 1)


class MaskedModel(nn.Module):
    """A TabularResNet that predicts the hidden objects of an event from the others.

    An object (the actor with its user and session; a device; the fields of the event itself) is
    hidden as a whole: its fields nearly repeat each other, and a field that is predicted while its
    twin can be read is never a surprise. Only what is there is hidden: an object that an event does
    not have is no question. NOTE[DIFF] Masked-feature modelling elsewhere hides each column by
    itself. A hidden object's features are zero, and a vector learned for the object is added to the
    input projection.

    Columns are numbered with the numeric ones first, then the categorical ones, as in `names`. Each
    object has a `FieldsHead` of its own. One more head tells from the embedding which objects are
    not the event's own (`replaced_loss`), so that the embedding shows whether an event's parts
    belong together, and not only what they are.

    Raises ValueError if there are not as many names as the network has columns.
    """

    object_of_column: Tensor
    object_of_feature: Tensor
    object_of_category: Tensor
    always_there: Tensor
    first: Tensor
    known: Tensor

    def __init__(
        self,
        model: TabularResNet,
        *,
        numeric_names: Sequence[str],
        categorical_names: Sequence[str],
    ) -> None:
        super().__init__()
        if (len(numeric_names), len(categorical_names)) != (
            model.n_numeric,
            len(model.cardinalities),
        ):
            raise ValueError(
                f"the network has {model.n_numeric} numeric and {len(model.cardinalities)} categorical columns, "
                f"however: {len(numeric_names)} and {len(categorical_names)} names"
            )
        self.model = model
        self.numeric_names, self.categorical_names = tuple(numeric_names), tuple(categorical_names)
        self.names = self.numeric_names + self.categorical_names
        owners = objects_of(self.names)
        self.objects = sorted(set(owners))
        owner = torch.tensor([self.objects.index(name) for name in owners])
        self.columns = [
            (owner == i).nonzero().squeeze(1).tolist() for i in range(len(self.objects))
        ]
        widths = [1] * model.n_numeric + (
            model.embeddings.widths if model.embeddings is not None else []
        )
        sizes = torch.tensor(model.cardinalities, dtype=torch.int64)
        n = model.n_numeric
        quantities_only = torch.tensor([columns[-1] < n for columns in self.columns])
        self.register_buffer("object_of_column", owner, persistent=False)
        self.register_buffer(
            "object_of_feature", owner.repeat_interleave(torch.tensor(widths)), persistent=False
        )
        self.register_buffer(
            "object_of_category", torch.eye(len(self.objects))[owner[n:]], persistent=False
        )
        self.register_buffer("always_there", quantities_only, persistent=False)
        self.register_buffer("first", sizes.cumsum(0) - sizes, persistent=False)
        self.register_buffer("known", torch.ones(int(sizes.sum()), dtype=torch.bool))
        self.mask_vectors = nn.Parameter(
            torch.randn(len(self.objects), model.d_block) / math.sqrt(model.d_block)
        )
        self.normalization = nn.BatchNorm1d(model.d_block)
        self.heads = nn.ModuleList(
            FieldsHead(
                model.d_block,
                [i for i in own if i < n],
                [i - n for i in own if i >= n],
                model.cardinalities,
            )
            for own in self.columns
        )
        self.replaced_head = nn.Linear(model.d_block, len(self.objects))

    def common(self, categorical: Tensor) -> Tensor:
        """The categories with those that were too rare to learn replaced by the index for unseen
        ones."""
        known = self.known.index_select(
            0, (categorical + self.first).flatten()
        )  # three times as fast as an index
        return torch.where(known.view_as(categorical), categorical, UNSEEN)

    @staticmethod
    def tame(numeric: Tensor) -> Tensor:
        """The quantities as the network sees them: one that is far out must not make all others
        look odd."""
        return torch.asinh(numeric)

    def embed(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        """Each event's embedding, nothing hidden: (rows, numeric), (rows, categorical) -> (rows,
        d_block)"""
        return self.model.embed(self.tame(numeric), self.common(categorical))

    def there(self, categorical: Tensor) -> Tensor:
        """Which objects an event has, by its fields that are not missing: (rows, categorical) ->
        (rows, objects), bool

        Missing quantities have a category that says so; an object without categories is always
        there."""
        return self.always_there | (
            (categorical > 0).to(self.object_of_category.dtype) @ self.object_of_category > 0
        )

    def masked_loss(
        self, numeric: Tensor, categorical: Tensor, masked: Tensor, *, trimmed: float = 0.0
    ) -> Tensor:
        """Mean negative log-likelihood, in nats, of the hidden fields.

        Shape: masked (rows, objects), bool: those to hide, as far as they are there. The share
        `trimmed` of the events, those with the least likely fields, is left out of the mean."""
        categorical = self.common(categorical)
        masked = masked & self.there(categorical)
        visible = (~masked).to(numeric.dtype).index_select(1, self.object_of_feature)
        x = self.model.input_projection(
            self.model.features(self.tame(numeric), categorical) * visible
        )
        embedding = self._blocks(x + masked.to(x.dtype) @ self.mask_vectors)
        total = embedding.new_zeros(len(embedding))
        for i, head in enumerate(self.heads):
            rows = masked[:, i].nonzero().squeeze(1)
            nll = head(
                embedding.index_select(0, rows), *self._own(head, rows, numeric, categorical)
            )
            total = total.index_add(0, rows, nll.sum(1))
        fields = masked.to(total.dtype) @ total.new_tensor([len(own) for own in self.columns])
        mean = total.detach() / fields.clamp(min=1)
        kept = mean.argsort()[: len(mean) - int(len(mean) * trimmed)]
        return total[kept].sum() / fields[kept].sum().clamp(min=1)

    def replaced_loss(self, numeric: Tensor, categorical: Tensor, replaced: Tensor) -> Tensor:
        """Mean binary cross-entropy of telling which objects were replaced by those of other
        events.

        Shape: replaced (rows, objects), bool. An object that happens to be replaced by its equal is
        not."""
        categorical = self.common(categorical)
        others = torch.rand(replaced.shape, device=replaced.device).argsort(
            0
        )  # a shuffle for each object
        own = torch.arange(len(replaced), device=replaced.device)[:, None]
        source = torch.where(replaced, others, own)[:, self.object_of_column]
        n = self.model.n_numeric
        mixed, mixed_categories = (
            numeric.gather(0, source[:, :n]),
            categorical.gather(0, source[:, n:]),
        )
        changed = torch.cat([mixed != numeric, mixed_categories != categorical], 1).to(mixed.dtype)
        target = (
            changed.new_zeros(replaced.shape)
            .index_add(1, self.object_of_column, changed)
            .clamp(max=1)
        )
        embedding = self.model.embed(self.tame(mixed), mixed_categories)
        logits = self.replaced_head(F.relu(self.normalization(embedding)))
        return F.binary_cross_entropy_with_logits(logits, target)

    def object_nll(
        self, numeric: Tensor, categorical: Tensor, once: tuple[Tensor, Tensor] | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """For each object, the events that have it and the surprise of its fields: (events,),
        (events, its columns)

        The surprise is the negative log-likelihood, in nats, of each field given the other objects;
        one pass an object. once: what `added` gives, for those who have many batches."""
        categorical = self.common(categorical)
        added, missing = once or self.added()
        weight = self.model.input_projection.weight[:, : self.model.n_numeric]
        tamed = self.tame(numeric)
        projected = F.linear(tamed, weight, self.model.input_projection.bias + missing.sum(0))
        there = self.there(categorical)
        asked: list[
            tuple[Tensor, Tensor, Tensor]
        ] = []  # for each object: its events, and its fields in them
        hidden: list[
            Tensor
        ] = []  # and what its fields add to the projection, less what stands in their place
        head: Any
        for i, head in enumerate(self.heads):
            rows = there[:, i].nonzero().squeeze(1)
            quantities, categories = self._own(head, rows, numeric, categorical)
            part = (
                tamed.index_select(1, head.numeric).index_select(0, rows)
                @ weight.index_select(1, head.numeric).T
            )
            if len(head.categorical):
                own = F.embedding_bag(categories + self.first[head.categorical], added, mode="sum")
                projected.index_add_(0, rows, own - missing[i])
                part += own
            asked.append((rows, quantities, categories))
            hidden.append(part - self.mask_vectors[i])
        # All passes at once: one by one they are too small for their overhead.
        x = projected.index_select(0, torch.cat([rows for rows, _, _ in asked])) - torch.cat(hidden)
        embeddings = self._blocks(x).split([len(part) for part in hidden])
        for head, embedding, (rows, quantities, categories) in zip(
            self.heads, embeddings, asked, strict=True
        ):
            yield rows, head(embedding, quantities, categories)

    def added(self) -> tuple[Tensor, Tensor]:
        """What each category adds to the input projection, and what all of an object's do where
        they are missing.

        The projection is a sum over features, and most fields of an event are missing.
        Shape: (all categories, d_block), (objects, d_block)
        """
        network = self.model
        if network.embeddings is None:
            return self.mask_vectors[:0], torch.zeros_like(self.mask_vectors)
        added = network.embeddings.projected(
            network.input_projection.weight[:, network.n_numeric :]
        )
        return added, self.object_of_category.T @ added[self.first]

    def column_nll(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        """The surprise of each field, in nats, 0 for those of objects that the event does not have:
        (rows, columns)"""
        nll = numeric.new_zeros(len(numeric), len(self.names))
        for own, (rows, surprise) in zip(
            self.columns, self.object_nll(numeric, categorical), strict=True
        ):
            nll[rows[:, None], rows.new_tensor(own)] = surprise
        return nll

    @staticmethod
    def _own(
        head: Any, rows: Tensor, numeric: Tensor, categorical: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The columns that `head` predicts, in the events `rows`."""
        return (
            numeric.index_select(1, head.numeric).index_select(0, rows),
            categorical.index_select(1, head.categorical).index_select(0, rows),
        )

    def _blocks(self, x: Tensor) -> Tensor:
        for block in self.model.blocks:
            x = block(x)
        return F.relu(self.normalization(x))

    def batches(
        self, encoded: EncodedEvents, batch_size: int = 1024
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The events, batch by batch, on the model's device. Raises ValueError if they have other
        columns."""
        self.check_columns(encoded)
        device = self.mask_vectors.device
        for start in range(
            0, len(encoded.numeric), batch_size
        ):  # larger batches fall out of a CPU's cache
            rows = slice(start, start + batch_size)
            yield (
                torch.tensor(encoded.numeric[rows], device=device),
                torch.tensor(encoded.categorical[rows], device=device),
            )

    def check_columns(self, encoded: EncodedEvents) -> None:
        """Raises ValueError if the events' columns are not those of the model."""
        theirs = encoded.numeric_names + encoded.categorical_names
        if (
            encoded.numeric_names != self.numeric_names
            or encoded.categorical_names != self.categorical_names
        ):
            other = (
                ", ".join(sorted(set(theirs) ^ set(self.names))[:3]) or "the same in another order"
            )
            raise ValueError(f"the events have other columns than the model: {other}")
        sizes = self.model.cardinalities
        for name, a, b in zip(self.categorical_names, sizes, encoded.cardinalities, strict=True):
            if a != b:
                raise ValueError(f"{name} has {b} categories, however: the model has {a}")
        beyond = (encoded.categorical < 0) | (
            encoded.categorical >= np.array(sizes, dtype=np.int64)
        )
        if beyond.any():
            row, column = np.argwhere(beyond)[0]
            value = encoded.categorical[row, column]
            raise ValueError(
                f"{self.categorical_names[column]} has {sizes[column]} categories, however: {value} in row {row}"
            )

    def save(self, path: str | Path) -> None:
        """Write the model as one safetensors file, in place of what is there."""
        about = {
            "format": 1,
            "model": self.model.arguments,
            "numeric": self.numeric_names,
            "categorical": self.categorical_names,
        }
        write_tensors(Path(path), self.state_dict(), about)

    @classmethod
    def load(cls, path: str | Path) -> "MaskedModel":
        """Read what `save` wrote, onto the CPU, in eval mode. Raises ValueError if the file is
        something else."""
        tensors, about = read_tensors(Path(path))
        try:
            if about["format"] != 1:
                raise ValueError(f"its format is {about['format']}")
            model = TabularResNet(**about["model"])
            self = cls(
                model, numeric_names=about["numeric"], categorical_names=about["categorical"]
            )
            self.load_state_dict(tensors)
        except (
            KeyError,
            RuntimeError,
            TypeError,
            ValueError,
        ) as error:  # Runtime: other tensors or shapes
            raise ValueError(f"{path} holds no model of this version: train it again") from error
        return self.eval()


def pretrain(
    model: MaskedModel,
    encoded: EncodedEvents,
    *,
    epochs: int,
    seed: int,
    device: torch.device | str | None = None,
    batch_size: int = 256,
    lr: float = 4e-2,
    weight_decay: float = 1e-5,
    validation: float = 0.15,
    patience: int = 3,
    checkpoint: str | Path | None = None,
    progress: bool = True,
) -> list[dict[str, float]]:
    """Train `model` in place on past events, and leave it in eval mode with the weights of its best
    epoch.

    The loss is that of the masked fields plus half that of the replaced objects. The last
    `validation` share of the events, by time, is not trained on; training stops when their loss has
    not fallen for `patience` epochs. Categories that occur once only among the others are treated
    as unseen ones, so that the network learns how often something new is to be expected, and where
    (the idea of Good and Turing; Good 1953). In each batch the least likely 3% of the events are
    not learned from (masked fields): past events may contain attacks.

    `lr` is the highest learning rate for batches of 256; for others it grows with the root of their
    size (Malladi et al. 2022, arXiv:2205.10287, on Adam).

    With `checkpoint`, the state is written there after each epoch, and training goes on from there
    if the file exists; the result is that of a run that was never interrupted.

    Returns one row per epoch: `epoch` (from 1), `lr`, `train_loss` (both losses, with dropout) and
    `validation_loss` (nats per event, by `column_nll`, without dropout).
    Equal arguments and initial weights give equal results on one machine's CPU.

    Raises ValueError if there are too few events, a numeric value is not finite, the columns are
    not the model's, or the checkpoint belongs to another run."""
    device = torch.device(device or default_device())
    model.check_columns(encoded)
    if epochs < 1 or batch_size < 2 or not 0 < validation < 1:
        raise ValueError(
            "training needs an epoch, batches of two and a validation share between 0 and 1, "
            f"however: {epochs=}, {batch_size=}, {validation=}"
        )
    n = len(encoded.time)
    if n < FEWEST_EVENTS:
        raise ValueError(
            f"too few events to learn from: {n}, and at least {FEWEST_EVENTS} are needed"
        )
    for column, name in enumerate(encoded.numeric_names):
        if not np.isfinite(encoded.numeric[:, column]).all():
            raise ValueError(f"{name} holds a value that is not finite")
    past, recent = split_by_time(encoded.time, validation)
    model.to(device)
    numeric = torch.tensor(encoded.numeric, device=device)
    categorical = torch.tensor(encoded.categorical, device=device)
    past_rows, recent_rows = torch.tensor(past, device=device), torch.tensor(recent, device=device)
    if len(model.known):
        seen = (categorical[past_rows] + model.first).flatten()
        model.known.copy_(torch.bincount(seen, minlength=len(model.known)) > 1)
        model.known[model.first] = True  # index 0, missing, stays what it is

    steps = max(1, len(past) // batch_size)
    highest = lr * math.sqrt(batch_size / 256)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=highest, weight_decay=weight_decay, fused=True
    )
    run = {
        "epochs": epochs, "seed": seed, "batch_size": batch_size, "lr": lr, "weight_decay": weight_decay,
        "validation": validation, "patience": patience, "events": _digest(encoded),
    }  # fmt: skip
    history: list[dict[str, float]] = []
    best = {name: value.clone() for name, value in model.state_dict().items()}
    if checkpoint is not None and Path(checkpoint).exists():
        history, best = _resume(Path(checkpoint), model, optimizer, run)

    with tqdm(
        total=epochs * steps,
        initial=len(history) * steps,
        unit="step",
        disable=not (progress and watched()),
    ) as bar:
        for epoch in range(len(history), epochs):
            if _exhausted(history, patience):
                break
            bar.set_description(f"epoch {epoch + 1}/{epochs}", refresh=False)
            model.train()
            total = torch.zeros((), device=device)
            with torch.random.fork_rng([device] if device.type == "cuda" else []):
                # From seed and epoch alone, so that a resumed run draws what an uninterrupted one
                # does.
                torch.manual_seed(int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0]))
                order = past_rows[torch.randperm(len(past), device=device)]
                for step, rows in enumerate(order.tensor_split(steps), start=epoch * steps):
                    chance = torch.rand(2, len(rows), len(model.objects), device=device)
                    for group in optimizer.param_groups:
                        group["lr"] = highest * one_cycle(step / (epochs * steps))
                    optimizer.zero_grad()
                    x, c = numeric[rows], categorical[rows]
                    loss = model.masked_loss(x, c, chance[0] < MASKED_SHARE, trimmed=TRIMMED_SHARE)
                    loss = loss + REPLACED_WEIGHT * model.replaced_loss(
                        x, c, chance[1] < REPLACED_SHARE
                    )
                    loss.backward()
                    optimizer.step()
                    total += loss.detach() * len(rows)
                    bar.update()
            model.eval()
            with torch.no_grad():
                sums = [
                    model.column_nll(numeric[r], categorical[r]).sum()
                    for r in recent_rows.split(1024)
                ]
            history.append({
                "epoch": epoch + 1,
                "lr": optimizer.param_groups[0]["lr"],
                "train_loss": float(total) / len(past),
                "validation_loss": float(torch.stack(sums).sum()) / len(recent),
            })  # fmt: skip
            if history[-1]["validation_loss"] == min(row["validation_loss"] for row in history):
                best = {name: value.clone() for name, value in model.state_dict().items()}
            if checkpoint is not None:
                _save_checkpoint(
                    Path(checkpoint), model, optimizer, best, run | {"history": history}
                )
    model.load_state_dict(best)
    model.eval()
    return history


def split_by_time(time: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """The rows of the earlier events and those of the last `share` of them, each in the order of
    time."""
    order = np.argsort(time, kind="stable")
    held_out = min(max(1, round(share * len(order))), len(order) - 1)
    return order[:-held_out], order[-held_out:]


def _exhausted(history: list[dict[str, float]], patience: int) -> bool:
    losses = [row["validation_loss"] for row in history]
    return bool(losses) and len(losses) - 1 - int(np.argmin(losses)) >= patience


def _digest(encoded: EncodedEvents) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for array in (encoded.numeric, encoded.categorical, encoded.time):
        digest.update(array.tobytes())
    return digest.hexdigest()


def _save_checkpoint(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    best: dict[str, Tensor],
    about: dict[str, Any],
) -> None:
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in best.items()}
    for i, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{i}.{name}": value for name, value in state.items()}
    write_tensors(path, tensors, about)


def _resume(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, run: dict[str, Any]
) -> tuple[list[dict[str, float]], dict[str, Tensor]]:
    tensors, about = read_tensors(path)
    for name, value in run.items():
        if about.get(name) != value:
            raise ValueError(
                f"{path} is of another run: {name} is {about.get(name)} there, however: {value} here"
            )
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "optimizer": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor.to(next(model.parameters()).device)
    model.load_state_dict(parts["model"])
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in parts["optimizer"].items():
        i, _, key = name.partition(".")
        state.setdefault(int(i), {})[key] = tensor
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
    return about["history"], parts["best"]


def write_tensors(path: Path, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
    """Write tensors, and what is to be known about them as JSON, as one safetensors file in place
    of what is there."""
    part = path.with_name(path.name + ".part")
    save_file(
        {name: value.contiguous() for name, value in tensors.items()},
        part,
        {"about": json.dumps(about)},
    )
    os.replace(part, path)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write_tensors` wrote, and what is known about it. Raises ValueError if the file is
    something else."""
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get("about", "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118 (not a dict)
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as safetensors: {error}") from error
