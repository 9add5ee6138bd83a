"""Recurrent layers: a state that is updated token by token, with backward passes by hand.

What every step needs from the input is computed for all steps at once, in one matrix product, and
so are the gradients of all weights: within the loop over time there is one small product a step.

PyTorch's equations, names and order of gates, so that weights can be copied:

    rnn    h' = tanh(x_t + W h)                              Elman 1990
    lstm   i, f, g, o = sigmoid, sigmoid, tanh, sigmoid of (x_t + W h)
           c' = f c + i g ;  h' = o tanh(c')                 Hochreiter & Schmidhuber 1997
    gru    r, z = sigmoid of (x_t + W h);  n = tanh(x_n + r (W_n h))
           h' = (1 - z) n + z h                              Cho et al. 2014

where x_t = W_ih input_t + b. Shapes: T steps, B sequences, H hidden units, G gates (1, 4, 3).
"""

import dataclasses
import math
from typing import Any

import numpy as np

import tinygrad_llm.functional as F
from tinygrad_llm import nn
from tinygrad_llm.autograd import Array, Function
from tinygrad_llm.tensor import Tensor

GATES = {"rnn": 1, "lstm": 4, "gru": 3}


class ElmanSteps(Function):
    """x (T, B, H), weight (H, H), h (B, H), keep (T, B, 1) or None -> all states (T, B, H)."""

    def forward(self, x: Array, weight: Array, h: Array, keep: Array | None) -> Array:
        states = np.empty_like(x)
        self.h0, self.weight, self.keep, self.states = h, weight, keep, states
        recurrent = _transposed(weight, len(x))  # (H, H)
        for t, z in enumerate(x):
            np.tanh(z + h @ recurrent, out=states[t])
            if keep is not None:
                states[t] *= keep[t]
            h = states[t]
        return states

    def backward(self, dstates: Array) -> Any:
        states, keep = self.states, self.keep
        dx = np.empty_like(states)
        dh = np.zeros_like(self.h0)
        for t in reversed(range(len(states))):
            dh = dh + dstates[t]
            if keep is not None:
                dh *= keep[t]
            # A state that was not kept is 0, and so is its gradient by now.
            np.multiply(dh, 1 - states[t] * states[t], out=dx[t])
            dh = dx[t] @ self.weight
        return dx, _weight_gradient(dx, self.h0, states), dh


class LSTMSteps(Function):
    """x (T, B, 4H), weight (4H, H), h, c (B, H), keep -> all h (T, B, H) and the last c (B, H)."""

    def forward(self, x: Array, weight: Array, h: Array, c: Array, keep: Array | None) -> Any:
        steps, batch, width = len(x), len(h), h.shape[1]
        # sigmoid(z) = (1 + tanh(z / 2)) / 2: with three of the four halved beforehand, one tanh
        # over all gates serves. tanh is the vectorised one, and never overflows.
        half = np.full(4 * width, 0.5, x.dtype)
        half[2 * width : 3 * width] = 1
        recurrent = _transposed(weight, steps)  # (H, 4H)
        gates = x.copy()  # (T, B, 4H): will hold i, f, g, o
        cells = np.empty((steps + 1, batch, width), x.dtype)  # c at first, and after each step
        squashed = np.empty((steps, batch, width), x.dtype)  # tanh(c')
        states = np.empty((steps, batch, width), x.dtype)
        cells[0] = c
        self.h0 = h
        for t in range(steps):
            z = gates[t]
            z += h @ recurrent
            z *= half
            np.tanh(z, out=z)
            for gate in (z[:, : 2 * width], z[:, 3 * width :]):
                gate += 1
                gate *= 0.5
            i, f, g, o = _parts(z, 4)
            np.multiply(f, cells[t], out=cells[t + 1])
            cells[t + 1] += i * g
            if keep is not None:
                cells[t + 1] *= keep[t]  # tanh(0) = 0: the state is gone with the cell
            np.tanh(cells[t + 1], out=squashed[t])
            h = np.multiply(o, squashed[t], out=states[t])
        self.weight, self.keep = weight, keep
        self.gates, self.cells, self.squashed, self.states = gates, cells, squashed, states
        return states, cells[-1].copy()

    def backward(self, dstates: Array, dc: Array) -> Any:
        gates, cells, squashed, keep = self.gates, self.cells, self.squashed, self.keep
        dx = np.empty_like(gates)
        dh = np.zeros_like(self.h0)
        dc = dc.copy()
        for t in reversed(range(len(gates))):
            i, f, g, o = _parts(gates[t], 4)
            di, df, dg, do = _parts(dx[t], 4)
            dh = dh + dstates[t]
            dc += dh * o * (1 - squashed[t] * squashed[t])
            if keep is not None:
                dc *= keep[t]
            np.multiply(dh * squashed[t], o * (1 - o), out=do)
            np.multiply(dc * g, i * (1 - i), out=di)
            np.multiply(dc * cells[t], f * (1 - f), out=df)
            np.multiply(dc * i, 1 - g * g, out=dg)
            dc *= f
            dh = dx[t] @ self.weight
        return dx, _weight_gradient(dx, self.h0, self.states), dh, dc


class GRUSteps(Function):
    """x (T, B, 3H), weight (3H, H), bias (3H,), h (B, H), keep -> all states (T, B, H)."""

    def forward(self, x: Array, weight: Array, bias: Array, h: Array, keep: Array | None) -> Array:
        width = h.shape[1]
        gates = x.copy()  # (T, B, 3H): will hold r, z, n
        states = np.empty_like(x, shape=(len(x), *h.shape))
        inner = np.empty_like(states)  # W_n h + b_n, which the gate r lets through
        self.h0 = h
        recurrent = _transposed(weight, len(x))  # (H, 3H)
        for t, gate in enumerate(gates):
            from_state = h @ recurrent + bias
            inner[t] = from_state[:, 2 * width :]
            rz = gate[:, : 2 * width]
            rz += from_state[:, : 2 * width]
            rz *= 0.5
            np.tanh(rz, out=rz)
            rz += 1
            rz *= 0.5
            r, z, n = _parts(gate, 3)
            n += r * inner[t]
            np.tanh(n, out=n)
            np.add(n, z * (h - n), out=states[t])
            if keep is not None:
                states[t] *= keep[t]
            h = states[t]
        self.weight, self.keep, self.gates, self.states, self.inner = (
            weight, keep, gates, states, inner,
        )  # fmt: skip
        return states

    def backward(self, dstates: Array) -> Any:
        gates, states, keep = self.gates, self.states, self.keep
        dx = np.empty_like(gates)
        dinner = np.empty_like(gates)  # gradient of W h + b, which differs from dx in the part of n
        dh = np.zeros_like(self.h0)
        for t in reversed(range(len(gates))):
            r, z, n = _parts(gates[t], 3)
            dr, dz, dn = _parts(dx[t], 3)
            before = states[t - 1] if t else self.h0
            dh = dh + dstates[t]
            if keep is not None:
                dh *= keep[t]
            np.multiply(dh * (1 - z), 1 - n * n, out=dn)
            np.multiply(dh * (before - n), z * (1 - z), out=dz)
            np.multiply(dn * self.inner[t], r * (1 - r), out=dr)
            dinner[t] = dx[t]
            _parts(dinner[t], 3)[2][...] *= r
            dh = dh * z + dinner[t] @ self.weight
        return dx, _weight_gradient(dinner, self.h0, states), dinner.sum(axis=(0, 1)), dh


def _transposed(weight: Array, steps: int) -> Array:
    """weight^T, laid out anew where many steps use it: for few rows BLAS then is twice as fast."""
    return np.ascontiguousarray(weight.T) if steps > 2 else weight.T


def _parts(gates: Array, count: int) -> list[Array]:
    """(B, count * H) -> views (B, H)."""
    width = gates.shape[1] // count
    return [gates[:, k * width : (k + 1) * width] for k in range(count)]


def _weight_gradient(dz: Array, h0: Array, states: Array) -> Array:
    """The sum over steps of dz_t^T h_(t-1), as one product: (G H, T B) @ (T B, H)."""
    before = np.concatenate([h0[None], states[:-1]])
    return dz.reshape(-1, dz.shape[2]).T @ before.reshape(-1, before.shape[2])


@dataclasses.dataclass
class RecurrentState:
    """What the layers remember of the tokens so far; also the cache of `next_token_logits`."""

    h: list[Tensor]  # one (B, H) a layer
    c: list[Tensor]  # the cells of an LSTM, else empty
    length: int = 0  # tokens seen

    def detach(self) -> "RecurrentState":
        """The same values without their history: gradients stop here (truncated BPTT)."""
        return RecurrentState(
            [h.detach() for h in self.h], [c.detach() for c in self.c], self.length
        )

    def reorder(self, indices: Any) -> None:
        """Row b becomes what row indices[b] was, as beam search asks for; rows may repeat."""
        rows = indices.array if isinstance(indices, Tensor) else np.asarray(indices)
        self.h = [Tensor(h.array[rows]) for h in self.h]
        self.c = [Tensor(c.array[rows]) for c in self.c]


class Recurrent(nn.Module):
    """Layers of one kind of cell ("rnn", "lstm", "gru"), each fed with the states of the one below.

    As PyTorch's RNN, LSTM, GRU with batch_first: weight_ih_l0 (G H, in), weight_hh_l0 (G H, H),
    bias_ih_l0, bias_hh_l0 (G H,), ... dropout: of what goes from one layer to the next.
    """

    def __init__(
        self, cell: str, input_size: int, hidden_size: int, num_layers: int = 1, dropout: float = 0
    ):
        if cell not in GATES:
            raise ValueError(f"cell={cell!r} is not accepted; use one of {', '.join(GATES)}")
        self.cell = cell
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.dropout = dropout
        rows = GATES[cell] * hidden_size
        bound = 1 / math.sqrt(hidden_size)
        for layer in range(num_layers):
            shapes = {
                "weight_ih": (rows, hidden_size if layer else input_size),
                "weight_hh": (rows, hidden_size),
                "bias_ih": (rows,),
                "bias_hh": (rows,),
            }
            for name, shape in shapes.items():
                parameter = nn.Parameter(np.empty(shape, np.float32))
                nn.init.uniform_(parameter, -bound, bound)
                setattr(self, f"{name}_l{layer}", parameter)

    def weights(self, layer: int) -> list[nn.Parameter]:
        """weight_ih, weight_hh, bias_ih, bias_hh of a layer."""
        kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return [getattr(self, f"{kind}_l{layer}") for kind in kinds]

    def zero_state(self, batch_size: int) -> RecurrentState:
        zeros = np.zeros((batch_size, self.hidden_size), self.weights(0)[0].dtype)
        layers = range(self.num_layers)
        cells = layers if self.cell == "lstm" else ()
        return RecurrentState(
            [Tensor(zeros.copy()) for _ in layers], [Tensor(zeros.copy()) for _ in cells]
        )

    def forward(
        self, x: Tensor, state: RecurrentState | None = None, keep: np.ndarray | None = None
    ) -> tuple[Tensor, RecurrentState]:
        """x: (B, T, input_size) -> the states of the last layer (B, T, H), and what to go on with.

        keep: (B, T) bools; where False (padding), the state becomes 0.
        """
        state = self.zero_state(x.shape[0]) if state is None else state
        # Time first: each step then reads memory that lies together.
        y = x.transpose(0, 1)  # (T, B, input_size)
        kept = None if keep is None else np.asarray(keep, x.dtype).T[:, :, None]  # (T, B, 1)
        last_h, last_c = [], []
        for layer in range(self.num_layers):
            if layer and self.dropout:
                y = F.dropout(y, self.dropout, self.training)
            weight_ih, weight_hh, bias_ih, bias_hh = self.weights(layer)
            h = state.h[layer]
            if self.cell == "gru":
                y = GRUSteps.apply(F.linear(y, weight_ih, bias_ih), weight_hh, bias_hh, h, kept)
            else:
                z = F.linear(y, weight_ih, bias_ih + bias_hh)  # (T, B, G H)
                if self.cell == "rnn":
                    y = ElmanSteps.apply(z, weight_hh, h, kept)
                else:
                    y, c = LSTMSteps.apply(z, weight_hh, h, state.c[layer], kept)
                    last_c.append(c)
            last_h.append(y[-1])
        return y.transpose(0, 1), RecurrentState(last_h, last_c, state.length + x.shape[1])
