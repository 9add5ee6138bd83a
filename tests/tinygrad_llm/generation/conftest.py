"""Small models, written here, that generation is tested on: it must work with any of them."""

from types import SimpleNamespace

import numpy as np
import pytest

from tinygrad_llm.generation import KVCache


class TableModel:
    """A bigram table: the logits depend on the last token alone. No cache, no limit."""

    def __init__(self, logits):
        self.logits = np.asarray(logits)
        self.config = SimpleNamespace(vocab_size=self.logits.shape[1])

    def next_token_logits(self, input_ids, attention_mask=None, cache=None):
        return self.logits[input_ids[:, -1]]


class LastTokens:
    """Logits that are a random function of the last n_positions tokens: a fixed window."""

    def __init__(self, vocab_size=7, n_positions=3, seed=0):
        self.config = SimpleNamespace(vocab_size=vocab_size, n_positions=n_positions)
        self.seed = seed
        self.seen = []

    def next_token_logits(self, input_ids, attention_mask=None, cache=None):
        assert cache is None
        rows = []
        for i, row in enumerate(input_ids):
            real = row if attention_mask is None else row[attention_mask[i] != 0]
            assert 0 < len(real) <= self.config.n_positions
            self.seen.append(real.tolist())
            random = np.random.default_rng([self.seed, *real])
            rows.append(random.normal(size=self.config.vocab_size))
        return np.array(rows)


class Attention:
    """Two layers of attention with learned positions: GPT's use of the cache in 40 lines."""

    def __init__(self, vocab_size=11, n_positions=8, n_layers=2, heads=3, width=4, seed=0):
        self.config = SimpleNamespace(vocab_size=vocab_size, n_positions=n_positions)
        random = np.random.default_rng(seed)
        self.heads, self.width, channels = heads, width, heads * width
        self.embedding = random.normal(size=(vocab_size, channels)).astype("f4")
        self.positions = random.normal(size=(n_positions or 1, channels)).astype("f4")
        shape = (n_layers, channels, 3 * channels)
        self.qkv = (random.normal(size=shape) * 1.5 / channels**0.5).astype("f4")
        # Not the embedding again: most texts would be one token over and over.
        self.out = random.normal(size=(channels, vocab_size)).astype("f4")
        self.calls = 0
        self.tokens = 0  # embedded, in all rows
        self.columns = 0  # of keys looked at

    def new_cache(self, batch_size, max_length=None):
        return KVCache(len(self.qkv), batch_size, max_length)

    def next_token_logits(self, input_ids, attention_mask=None, cache=None):
        batch, length = input_ids.shape
        past = cache.length if cache is not None else 0
        total = past + length
        self.calls += 1
        self.tokens += input_ids.size
        self.columns += batch * total
        assert total <= self.config.n_positions, "more than the model can read"
        mask = np.ones((batch, total)) if attention_mask is None else attention_mask
        assert mask.shape == (batch, total)
        places = np.maximum(np.cumsum(mask, axis=1).astype(int) - 1, 0)[:, past:]
        x = self.embedding[input_ids] + self.positions[places]  # (B, T, C)
        may = (np.arange(total) <= np.arange(past, total)[:, None]) & (mask[:, None] != 0)
        may |= np.arange(total) == np.arange(past, total)[:, None]  # padding sees itself
        for layer, weight in enumerate(self.qkv):
            heads = (x @ weight).reshape(batch, length, 3, self.heads, self.width)
            q, k, v = heads.transpose(2, 0, 3, 1, 4)  # (B, H, T, D) each
            if cache is not None:
                k, v = cache.update(k, v, layer)
            scores = q @ k.swapaxes(-1, -2) / self.width**0.5  # (B, H, T, S)
            scores = np.where(may[:, None], scores, -np.inf)
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            weights /= weights.sum(-1, keepdims=True)
            x = x + np.tanh((weights @ v).transpose(0, 2, 1, 3).reshape(x.shape))
        return x[:, -1] @ self.out


class Recurrent:
    """A state that never forgets: no limit, and a cache that has no more than it needs."""

    class State:
        def __init__(self, state):
            self.state, self.length = state, 0

        def reorder(self, indices):
            self.state = self.state[indices]

    def __init__(self, vocab_size=9, channels=10, seed=0, n_positions=None):
        self.config = SimpleNamespace(vocab_size=vocab_size, n_positions=n_positions)
        random = np.random.default_rng(seed)
        self.embedding = random.normal(size=(vocab_size, channels))
        self.weight = random.normal(size=(channels, channels)) / channels**0.5
        self.out = random.normal(size=(channels, vocab_size)) * 2

    def new_cache(self, batch_size, max_length=None):
        return self.State(np.zeros((batch_size, len(self.weight))))

    def next_token_logits(self, input_ids, attention_mask=None, cache=None):
        state = self.new_cache(len(input_ids)).state if cache is None else cache.state
        for t in range(input_ids.shape[1]):
            new = np.tanh(self.embedding[input_ids[:, t]] + state @ self.weight)
            if attention_mask is not None:
                keep = attention_mask[:, t - input_ids.shape[1], None] != 0
                new = np.where(keep, new, 0)
            state = new
        if cache is not None:
            cache.state, cache.length = state, cache.length + input_ids.shape[1]
        return state @ self.out


@pytest.fixture
def toys():
    return SimpleNamespace(
        TableModel=TableModel, LastTokens=LastTokens, Attention=Attention, Recurrent=Recurrent
    )
