"""A residual network for tables: Gorishniy et al. 2021, "Revisiting Deep Learning Models for
Tabular Data", Sec. 3.2.

The parts carry the names of the authors' own package (rtdl_revisiting_models), so that its ResNet's
weights load into `input_projection`, `blocks` and `output` as they are."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHUNK = 8  # embedding widths are multiples of this
MAX_WIDTH = 16


def embedding_width(cardinality: int) -> int:
    """Width of the embedding of a categorical column: 1.6 n**0.56, rounded up to a multiple of 8,
    at most 16.

    NOTE[DIFF] Gorishniy et al. tune one width for all columns of a data set. Here the width follows
    the cardinality, by the rule of thumb of Howard and Gugger 2020 ("fastai", tabular), capped:
    there is no label to tune it with.

    >>> [embedding_width(n) for n in (2, 10, 25, 1000)]
    [8, 8, 16, 16]
    """
    return min(MAX_WIDTH, CHUNK * math.ceil(1.6 * math.pow(cardinality, 0.56) / CHUNK))


class ColumnEmbeddings(nn.Module):
    """All categorical columns' embeddings in one table, read with one lookup.

    The table's rows are 8 wide, and a category of a column of width w owns w / 8 rows, one after
    the other; so columns may differ in width and no row is padding.

    Shape: (rows, columns), int64 -> (rows, sum of the columns' widths), columns in order.
    """

    column: Tensor
    stride: Tensor
    start: Tensor

    def __init__(self, cardinalities: Sequence[int]) -> None:
        super().__init__()
        sizes = torch.tensor(cardinalities)
        self.widths = [embedding_width(n) for n in cardinalities]
        rows = torch.tensor(self.widths) // CHUNK  # table rows of one category
        # The i-th table row read for an event is start[i] + index of column[i] * stride[i].
        column = torch.repeat_interleave(rows)
        self.rows = (sizes * rows).tolist()  # of the table, that each column has
        first = torch.cumsum(sizes * rows, 0) - sizes * rows
        within = torch.cat([torch.arange(int(r)) for r in rows])
        self.register_buffer("column", column, persistent=False)
        self.register_buffer("stride", rows[column], persistent=False)
        self.register_buffer("start", first[column] + within, persistent=False)
        self.table = nn.Embedding(int((sizes * rows).sum()), CHUNK)
        # As rtdl's CategoricalEmbeddings.
        bound = (CHUNK * torch.repeat_interleave(rows, sizes * rows)).rsqrt()
        with torch.no_grad():
            self.table.weight.uniform_(-1, 1).mul_(bound[:, None])

    def forward(self, categorical: Tensor) -> Tensor:
        index = categorical.index_select(1, self.column) * self.stride + self.start
        # The gradient of index_select is twice as fast as that of nn.Embedding on a CPU; on CUDA
        # its order is not fixed.
        flat = index.flatten()
        weight = self.table.weight
        rows = F.embedding(flat, weight) if flat.is_cuda else weight.index_select(0, flat)
        return rows.view(len(categorical), sum(self.widths))

    def projected(self, weight: Tensor) -> Tensor:
        """What each category of each column adds to a linear layer on the embeddings: (all
        categories, d_out).

        weight, of the layer: (d_out, sum of the columns' widths). The categories stand column by
        column."""
        tables = torch.split(self.table.weight, self.rows)
        parts = zip(tables, self.widths, torch.split(weight, self.widths, 1), strict=True)
        return torch.cat([table.reshape(-1, width) @ own.T for table, width, own in parts])


class TabularBlock(nn.Module):
    """x + Dropout(Linear(Dropout(ReLU(Linear(BatchNorm(x)))))): Gorishniy et al. 2021, Sec. 3.2,
    ResNetBlock.

    The normalization comes first and nothing stands on the skip path, as in the pre-activation
    block of He et al. 2016b.

    Shape: (rows, d_block) -> (rows, d_block)
    """

    def __init__(self, d_block: int, d_hidden: int, *, dropout1: float, dropout2: float) -> None:
        super().__init__()
        self.normalization = nn.BatchNorm1d(d_block)
        self.linear1 = nn.Linear(d_block, d_hidden)
        self.activation = nn.ReLU(inplace=True)
        self.dropout1 = nn.Dropout(dropout1)
        self.linear2 = nn.Linear(d_hidden, d_block)
        self.dropout2 = nn.Dropout(dropout2)

    def change(self, x: Tensor) -> Tensor:
        """F(x), what the block adds to its input."""
        hidden = self.dropout1(self.activation(self.linear1(self.normalization(x))))
        change: Tensor = self.dropout2(self.linear2(hidden))
        return change

    def forward(self, x: Tensor) -> Tensor:
        return x + self.change(x)


class TabularHead(nn.Module):
    """Linear(ReLU(BatchNorm(x))): Gorishniy et al. 2021, Sec. 3.2, Prediction.

    Shape: (rows, d_block) -> (rows, d_out)
    """

    def __init__(self, d_block: int, d_out: int) -> None:
        super().__init__()
        self.normalization = nn.BatchNorm1d(d_block)
        self.activation = nn.ReLU(inplace=True)
        self.linear = nn.Linear(d_block, d_out)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear(self.activation(self.normalization(x)))
        return out


class TabularResNet(nn.Module):
    """The ResNet of Gorishniy et al. 2021, Sec. 3.2, with embeddings for categorical columns in
    front.

    n_numeric is the number of numeric columns, cardinalities the number of categories of each
    categorical column; either may be none. d_block is the width of the embedding of an event,
    int(d_block * d_hidden_multiplier) the width inside a block, dropout1 the rate inside a block
    and dropout2 the rate on its output. With d_out, forward ends in a head.

    Shape: numeric (rows, n_numeric), floating; categorical (rows, len(cardinalities)), int64. Where
    the network has no column of a kind, its argument is None or has no columns.

    Raises ValueError if a hyper-parameter makes no network, or an argument's shape or dtype is not
    the network's; IndexError if a category is outside its column's cardinality. Both name the
    argument or the column.

    >>> net = TabularResNet(n_numeric=2, cardinalities=[5, 300], d_block=32)
    >>> net.embed(torch.zeros(7, 2), torch.zeros(7, 2, dtype=torch.int64)).shape
    torch.Size([7, 32])
    """

    _limits: Tensor

    def __init__(
        self,
        *,
        n_numeric: int,
        cardinalities: Sequence[int],
        d_block: int = 128,
        n_blocks: int = 2,
        d_hidden_multiplier: float = 2.0,
        dropout1: float = 0.15,
        dropout2: float = 0.0,
        d_out: int | None = None,
    ) -> None:
        if n_numeric < 0:
            raise ValueError(f"n_numeric must not be negative, however: {n_numeric=}")
        if n_numeric == 0 and not cardinalities:
            raise ValueError("a network needs a column, however: n_numeric=0 and no cardinalities")
        for i, n in enumerate(cardinalities):
            if n < 1:
                raise ValueError(f"cardinalities must be positive, however: cardinalities[{i}]={n}")
        d_hidden = int(d_block * d_hidden_multiplier)
        for name, value in {
            "d_block": d_block,
            "n_blocks": n_blocks,
            "the hidden width": d_hidden,
        }.items():
            if value < 1:
                raise ValueError(f"{name} must be positive, however: {value}")
        if d_out is not None and d_out < 1:
            raise ValueError(f"d_out must be positive or None, however: {d_out=}")
        super().__init__()
        self.n_numeric = n_numeric
        self.cardinalities = tuple(cardinalities)
        self.d_block = d_block
        # What builds this network again, for those who save it.
        self.arguments = {
            "n_numeric": n_numeric,
            "cardinalities": self.cardinalities,
            "d_block": d_block,
            "n_blocks": n_blocks,
            "d_hidden_multiplier": d_hidden_multiplier,
            "dropout1": dropout1,
            "dropout2": dropout2,
            "d_out": d_out,
        }
        self.register_buffer("_limits", torch.tensor(self.cardinalities), persistent=False)
        self.embeddings = ColumnEmbeddings(self.cardinalities) if self.cardinalities else None
        d_in = n_numeric + (sum(self.embeddings.widths) if self.embeddings is not None else 0)
        self.input_projection = nn.Linear(d_in, d_block)
        self.blocks = nn.ModuleList(
            TabularBlock(d_block, d_hidden, dropout1=dropout1, dropout2=dropout2)
            for _ in range(n_blocks)
        )
        self.output = None if d_out is None else TabularHead(d_block, d_out)

    def features(self, numeric: Tensor | None, categorical: Tensor | None) -> Tensor:
        """What enters the first layer: the numeric columns, then each categorical column's
        embedding.

        Shape: (rows, n_numeric), (rows, len(cardinalities)) -> (rows, n_numeric + sum of the
        widths)"""
        self._check(numeric, categorical)
        if self.embeddings is None:
            assert numeric is not None
            return numeric
        embedded = self.embeddings(categorical)
        return embedded if self.n_numeric == 0 else torch.cat([numeric, embedded], 1)  # type: ignore[list-item]

    def embed(self, numeric: Tensor | None, categorical: Tensor | None) -> Tensor:
        """The embedding of each event: what leaves the last block. Shape: as the class says ->
        (rows, d_block)"""
        x: Tensor = self.input_projection(self.features(numeric, categorical))
        for block in self.blocks:
            x = block(x)
        return x

    def forward(self, numeric: Tensor | None, categorical: Tensor | None) -> Tensor:
        """The head's output (rows, d_out), or the embedding where d_out is None."""
        x = self.embed(numeric, categorical)
        return x if self.output is None else self.output(x)

    def _check(self, numeric: Tensor | None, categorical: Tensor | None) -> None:
        given = {
            "numeric": (numeric, self.n_numeric),
            "categorical": (categorical, len(self.cardinalities)),
        }
        for name, (values, columns) in given.items():
            if values is None:
                if columns:
                    raise ValueError(
                        f"{name} is None, however: the network has {columns} {name} columns"
                    )
            elif values.ndim != 2 or values.shape[1] != columns:
                raise ValueError(
                    f"{name} must have the shape (rows, {columns}), however: {tuple(values.shape)}"
                )
        if numeric is not None and self.n_numeric and not numeric.is_floating_point():
            raise ValueError(f"numeric must be floating point, however: {numeric.dtype}")
        if categorical is None or not self.cardinalities:
            return
        if categorical.dtype != torch.int64:
            raise ValueError(f"categorical must be int64, however: {categorical.dtype}")
        if numeric is not None and self.n_numeric and len(numeric) != len(categorical):
            raise ValueError(
                f"numeric has {len(numeric)} rows, however: categorical has {len(categorical)}"
            )
        # An index beyond its column would silently read the next column's row of the common table.
        outside = (categorical < 0) | (categorical >= self._limits)
        if outside.any():
            row, column = (int(i) for i in outside.nonzero()[0])
            raise IndexError(
                f"categorical column {column} has {self.cardinalities[column]} categories, "
                f"however: its index in row {row} is {int(categorical[row, column])}"
            )
