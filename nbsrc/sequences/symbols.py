"""Which symbol comes next? Networks and n-grams that learn it from normal traces, and how unusual
they find a new one.

A trace is a sequence of numbers from 0 to `n_symbols` - 1, such as a process's system calls; what
learning has not seen is symbol `n_symbols`."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nbsrc.sequences.training import train
from nbsrc.training import one_thread

WIDTH = 32
WINDOW = 128  # symbols that a network is given at once
BATCH = 32
UNSEEN_SHARE = 0.001  # of symbols that training takes for unseen ones

Trace = np.ndarray


class NextSymbol(nn.Module):
    """Predicts each symbol of a trace from those before it.

    context: one of `nbsrc.sequences.contexts.NETWORKS`, given `width`.

    Shape: symbols (batch, time), int64 -> nats (batch, time): -log of each one's probability
    """

    def __init__(
        self, context: Callable[[int], nn.Module], *, n_symbols: int, width: int = WIDTH
    ) -> None:
        super().__init__()
        self.n_symbols = n_symbols
        self.start = n_symbols + 1  # stands before the first one
        self.embedding = nn.Embedding(n_symbols + 2, width)
        self.context = context(width)
        self.output = nn.Linear(width, n_symbols + 1)

    def forward(self, symbols: Tensor) -> Tensor:
        before = F.pad(symbols[:, :-1], (1, 0), value=self.start)
        logits = self.output(self.context(self.embedding(before)))
        return F.cross_entropy(logits.transpose(1, 2), symbols, reduction="none")


def windows(traces: Sequence[Trace], *, length: int = WINDOW) -> tuple[Tensor, Tensor, Tensor]:
    """Traces cut into windows that overlap by half, so that every symbol that has a past is seen
    with at least half a window of it.

    Returns symbols (windows, length), int64, padded with 0; which of them are to be scored
    (windows, length), bool, each symbol of each trace once; the number of each window's trace
    (windows,)."""
    half = length // 2
    pieces: list[Trace] = []
    first: list[int] = []
    owner: list[int] = []
    for number, trace in enumerate(traces):
        for start in range(0, max(1, len(trace) - half), half):
            pieces.append(trace[start : start + length])
            first.append(0 if start == 0 else half)
            owner.append(number)
    symbols = np.zeros((len(pieces), length), np.int64)
    scored = np.zeros((len(pieces), length), bool)
    for row, piece in enumerate(pieces):
        symbols[row, : len(piece)] = piece
        scored[row, first[row] : len(piece)] = True
    return torch.from_numpy(symbols), torch.from_numpy(scored), torch.tensor(owner)


class NetworkSurprise:
    """Mean surprise of a trace's symbols, in nats, by a network trained on normal traces.

    It trains for `steps`, or as many steps as fit into `seconds` of one CPU core. Learned:
    `model_`, `steps_`."""

    def __init__(
        self,
        context: Callable[[int], nn.Module],
        *,
        n_symbols: int,
        seed: int,
        seconds: float = 0.0,
        steps: int = 0,
    ) -> None:
        self.context = context
        self.n_symbols = n_symbols
        self.seed = seed
        self.seconds = seconds
        self.steps = steps

    def fit(self, traces: Sequence[Trace]) -> "NetworkSurprise":
        """Learn from normal traces."""
        symbols, scored, _ = windows(traces)
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            self.model_ = NextSymbol(self.context, n_symbols=self.n_symbols)

        def loss(generator: torch.Generator) -> Tensor:
            rows = torch.randint(len(symbols), (BATCH,), generator=generator)
            # Now and then a symbol is taken for an unseen one: the network learns that such a thing
            # happens, and how rarely.
            drawn = symbols[rows]
            unseen = torch.rand(drawn.shape, generator=generator) < UNSEEN_SHARE
            nats = self.model_(drawn.masked_fill(unseen, self.n_symbols))
            return nats[scored[rows]].mean()

        losses = train(self.model_, loss, steps=self.steps, seconds=self.seconds, seed=self.seed)
        self.steps_ = len(losses)
        return self

    def decision_function(self, traces: Sequence[Trace]) -> np.ndarray:
        """The score of each trace: (traces,), higher is stranger."""
        symbols, scored, owner = windows(traces)
        total = torch.zeros(len(traces))
        with torch.inference_mode(), one_thread():
            # Windows of like lengths together: nothing is computed for padding.
            lengths = scored.flip(1).int().argmax(1)
            for rows in lengths.argsort().split(256):
                longest = symbols.shape[1] - int(lengths[rows].min())
                nats = self.model_(symbols[rows, :longest]) * scored[rows, :longest]
                total.index_add_(0, owner[rows], nats.sum(1))
        count = torch.tensor([max(1, len(trace)) for trace in traces])
        scores: np.ndarray = (total / count).numpy()
        return scores
