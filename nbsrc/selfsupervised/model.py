"""The model that learns without labels: some of an event's objects are hidden and predicted, some
are replaced and found out.

Masked-feature modelling is the tabular relative of BERT's masked words (Devlin et al. 2019,
arXiv:1810.04805, Sec. 3.1); telling replaced parts from original ones that of ELECTRA (Clark et al.
2020, arXiv:2003.10555). Rubachev et al. 2022 (arXiv:2207.03208, Sec. 3) compare both for tabular
networks."""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nbsrc.selfsupervised.objects import objects_of
from nbsrc.tabular.encoded import UNSEEN, EncodedEvents
from nbsrc.tabular.network import TabularResNet

# of a quantity's Laplace likelihood, in the encoder's units: finer differences surprise little
SMALLEST_SCALE = 0.4


def masked_model(
    encoded: EncodedEvents, *, seed: int, d_block: int = 64, **network: Any
) -> "MaskedModel":
    """An untrained model for the columns of `encoded`, its weights from `seed`.

    d_block and `network` go to `TabularResNet`. The global random state stays as it is."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return MaskedModel(
            TabularResNet(
                n_numeric=len(encoded.numeric_names),
                cardinalities=encoded.cardinalities,
                d_block=d_block,
                **network,
            ),
            numeric_names=encoded.numeric_names,
            categorical_names=encoded.categorical_names,
        )


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
        buffers = {
            "numeric": torch.tensor(numeric, dtype=torch.int64),
            "categorical": torch.tensor(categorical, dtype=torch.int64),
            "first": sizes.cumsum(0) - sizes,  # of each column's logits
            # which logit is of which column: (logits, columns)
            "column": torch.eye(len(sizes)).repeat_interleave(sizes, 0),
        }
        for name, value in buffers.items():
            self.register_buffer(name, value, persistent=False)
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

    def own(self, rows: Tensor, numeric: Tensor, categorical: Tensor) -> tuple[Tensor, Tensor]:
        """The columns that the head predicts, in the events `rows`."""
        return (
            numeric.index_select(1, self.numeric).index_select(0, rows),
            categorical.index_select(1, self.categorical).index_select(0, rows),
        )


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
        n = model.n_numeric
        if (len(numeric_names), len(categorical_names)) != (n, len(model.cardinalities)):
            raise ValueError(
                f"the network has {n} numeric and {len(model.cardinalities)} categorical columns, "
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
        embedded = model.embeddings.widths if model.embeddings is not None else []
        widths = torch.tensor([1] * n + embedded)
        sizes = torch.tensor(model.cardinalities, dtype=torch.int64)
        buffers = {
            "object_of_column": owner,
            "object_of_feature": owner.repeat_interleave(widths),
            "object_of_category": torch.eye(len(self.objects))[owner[n:]],  # (columns, objects)
            "always_there": torch.tensor([own[-1] < n for own in self.columns]),  # quantities only
            "first": sizes.cumsum(0) - sizes,  # of each column's categories in `known`
        }
        for name, value in buffers.items():
            self.register_buffer(name, value, persistent=False)
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

    def learn_known(self, categorical: Tensor) -> None:
        """Take the categories that come once or never in `categorical` (rows, categorical) as
        unseen ones, so that the network learns how often something new is to be expected, and where
        (the idea of Good and Turing; Good 1953)."""
        seen = (categorical + self.first).flatten()
        self.known.copy_(torch.bincount(seen, minlength=len(self.known)) > 1)
        self.known[self.first] = True  # index 0, missing, stays what it is

    def common(self, categorical: Tensor) -> Tensor:
        """The categories with those that were too rare to learn replaced by the index for unseen
        ones."""
        place = (categorical + self.first).flatten()
        known = self.known.index_select(0, place)  # three times as fast as an index
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
        present = (categorical > 0).to(self.object_of_category.dtype)
        return self.always_there | (present @ self.object_of_category > 0)

    def masked_loss(
        self, numeric: Tensor, categorical: Tensor, masked: Tensor, *, trimmed: float = 0.0
    ) -> Tensor:
        """Mean negative log-likelihood, in nats, of the hidden fields.

        Shape: masked (rows, objects), bool: those to hide, as far as they are there. The share
        `trimmed` of the events, those with the least likely fields, is left out of the mean."""
        categorical = self.common(categorical)
        masked = masked & self.there(categorical)
        visible = (~masked).index_select(1, self.object_of_feature)
        features = self.model.features(self.tame(numeric), categorical) * visible
        x = self.model.input_projection(features)
        embedding = self.trunk(x + masked.to(x.dtype) @ self.mask_vectors)
        total = embedding.new_zeros(len(embedding))
        head: Any
        for i, head in enumerate(self.heads):
            rows = masked[:, i].nonzero().squeeze(1)
            nll = head(embedding.index_select(0, rows), *head.own(rows, numeric, categorical))
            total = total.index_add(0, rows, nll.sum(1))
        fields = masked.to(total.dtype) @ total.new_tensor([len(own) for own in self.columns])
        mean = total / fields.clamp(min=1)
        kept = mean.argsort()[: len(mean) - int(len(mean) * trimmed)]
        return total[kept].sum() / fields[kept].sum().clamp(min=1)

    def replaced_loss(self, numeric: Tensor, categorical: Tensor, replaced: Tensor) -> Tensor:
        """Mean binary cross-entropy of telling which objects were replaced by those of other
        events.

        Shape: replaced (rows, objects), bool. An object that happens to be replaced by its equal is
        not."""
        categorical = self.common(categorical)
        # a shuffle of the events for each object
        others = torch.rand(replaced.shape, device=replaced.device).argsort(0)
        own = torch.arange(len(replaced), device=replaced.device)[:, None]
        source = torch.where(replaced, others, own)[:, self.object_of_column]
        n = self.model.n_numeric
        mixed = numeric.gather(0, source[:, :n])
        mixed_categories = categorical.gather(0, source[:, n:])
        changed = torch.cat([mixed != numeric, mixed_categories != categorical], 1).to(mixed.dtype)
        target = changed.new_zeros(replaced.shape).index_add(1, self.object_of_column, changed)
        embedding = self.model.embed(self.tame(mixed), mixed_categories)
        logits = self.replaced_head(F.relu(self.normalization(embedding)))
        return F.binary_cross_entropy_with_logits(logits, target.clamp(max=1))

    def trunk(self, projected: Tensor) -> Tensor:
        """From the input projection to what the heads read: (rows, d_block) -> (rows, d_block)"""
        for block in self.model.blocks:
            projected = block(projected)
        return F.relu(self.normalization(projected))
