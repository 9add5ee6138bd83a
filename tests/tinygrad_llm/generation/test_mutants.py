"""Wrong versions of generation, each one line from the right one: some test rejects each.

A mutant is put into the modules of the package in place of the right code, and a test of this
folder, which passes with the right code, is run: it has to fail.
"""

import ast
import importlib.util
import inspect
import re
import sys
import types
from pathlib import Path

import pytest

import tinygrad_llm.generation  # noqa: F401  (what is mutated)
from tinygrad_llm import enable_grad

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of mutants that overflow

HERE = Path(__file__).parent
PACKAGE = "tinygrad_llm.generation"

# module > file of the test, words in its name, its arguments; - what stands there, + the mutant
CATALOGUE = r"""
sampling > sampling temperature_divides
- scores / temperature
+ scores * temperature

sampling > sampling whatever_its_sign
- seen < 0, seen * penalty, seen / penalty
+ seen < 0, seen / penalty, seen / penalty
- seen < 0, seen * penalty, seen / penalty
+ seen < 0, seen / penalty, seen * penalty
- result = scores.copy()
+ result = scores

sampling > sampling does_not_count_padding
- input_ids = np.where(padded, first[:, None], input_ids)
+ pass

sampling > sampling top_k_keeps
- scores < kth, -np.inf
+ scores <= kth, -np.inf
- scores < kth, -np.inf
+ scores > kth, -np.inf
- [:, vocab_size - k, None]
+ [:, k, None]
- k = max(k, min_tokens_to_keep)
+ pass

sampling > sampling top_p_keeps
- type(1 - p)
+ type(p)
- (probabilities.dtype) > removable
+ (probabilities.dtype) >= removable
- (probabilities.dtype) > removable
+ (probabilities.dtype) < removable
- [-min_tokens_to_keep:]
+ [:min_tokens_to_keep]
- if len(keep) < min_tokens_to_keep:
+ if False:

sampling > sampling sorting_everything
- below = tail + np
+ below = np
- np.argsort(scores[at_edge], kind
+ np.argsort(-scores[at_edge], kind
- tail = below_bins[edge + 1]
+ tail = below_bins[edge]
- np.flatnonzero(bins < edge)
+ np.flatnonzero(bins <= edge)
- > removable) - 1
+ > removable)

sampling > sampling min_p_keeps
- keep = probabilities >= p *
+ keep = probabilities > p *
- p * probabilities.max(axis=-1, keepdims=True)
+ p
- if min_tokens_to_keep > 1:
+ if False:
- return np.where(keep, scores, -np.inf)
+ return np.where(keep, -np.inf, scores)

sampling > sampling does_not_overflow
- e = np.exp(scores - scores.max(axis=-1, keepdims=True))
+ e = np.exp(scores)

sampling > sampling inverts_the_ladder (0.0, 1)
- np.argmax(ladder > uniform
+ np.argmax(ladder >= uniform

sampling > sampling inverts_the_ladder (0.2, 1)
- > uniform[:, None] * total
+ > (1 - uniform[:, None]) * total

sampling > sampling its_own_generator
- [g.random() for g in generator]
+ [generator[0].random()] * len(generator)

sampling > sampling frequencies_they_should
- uniform = generator.random(len(probabilities))
+ uniform = np.full(len(probabilities), generator.random())
- ladder = np.cumsum(probabilities,
+ ladder = np.cumsum(np.sqrt(probabilities),

sampling > beam enough_beams (1.0, 0)
- np.argsort(-scores[candidates]
+ np.argsort(scores[candidates]

context > context window_grows
- (length - n_positions - 1) %
+ (length - n_positions) %
- half = (n_positions + 1) // 2
+ half = n_positions // 2

context > context smallest_contexts (1,)
- self._windows != before + 1
+ self._windows < before
- np.full(len(prompts), -1)
+ np.zeros(len(prompts), int)

context > context logits_are_equal_too ('unequal',)
- self._cache.replace(rows, again)
+ pass
- logits[rows] = self._read
+ _ = self._read
- self._cache.keep_last(widest - 1)
+ pass
- self._cache.keep_last(widest - 1)
+ self._cache.crop(widest - 1)
- self.lengths = self.lengths[rows]
+ pass
- self._ids = self._ids[rows]
+ pass

context > context as_if_alone ('greedy', True)
- >= total - windows[:, None]
+ > total - windows[:, None]
- if (windows != total).any():
+ if False:

context > context many_slides ('beam', 'one', 8)
- self._cache.reorder(rows)
+ pass

context > context restores_both
- module.training = training
+ module.training = True
- self._no_grad.__exit__(*error)
+ pass

context > context work_per_token ('one',)
- self._use_cache = use_cache and self._slides
+ self._use_cache = False

context > context read_once
- self._copies = copies
+ self._copies = 1

cache > cache breaks_off
- if layer == self.n_layers - 1:
+ if layer == 0:

cache > context logits_are_equal_too ('unequal',)
- [:, :, self.length - length : self.length].copy()
+ [:, :, :length].copy()

cache > cache room_is_doubled
- max(end, self._room if array is None else 2 * array.shape[2])
+ end

cache > context many_slides ('beam', 'one', 8)
- array[indices[moved], :, : self.length]
+ array[moved, :, : self.length]

beam > beam enough_beams (1.0, 0)
- np.full(config.num_beams, _DEAD)
+ np.zeros(config.num_beams)
- np.where(ended, scores + _DEAD, scores)
+ scores
- key=lambda item: -item[0])
+ key=lambda item: item[0])
- return parents[running], tokens[running]
+ return running * 0, tokens[running]
- sampling.log_softmax(reader.read())
+ reader.read()

beam > beam short_and_long
- scores[rank] / length**self.config.length_penalty
+ scores[rank]

beam > beam beyond_the_best
- if ended[rank] and rank < beams:
+ if ended[rank]:

beam > beam greedy_search_misses
- (self.scores[:, None] + log_probs)
+ (0 * self.scores[:, None] + log_probs)

beam > beam early_stopping_takes
- if self.config.early_stopping is True:
+ if False:

beam > beam without_replacement
- - np.log(self.generator.standard_exponential
+ + np.log(self.generator.standard_exponential

generate > generate drawn_by_itself
- f"{seed} {number}"
+ f"{seed}"
- hashlib.blake2b(prompt,
+ hashlib.blake2b(b'',

generate > generate same_seed
- f"{seed} {number}"
+ f"{number}"

generate > generate without_a_seed
- rng.state.generator.integers(2**63)
+ 0

generate > generate streamer_gets_the_prompts
- self._added[:, step] = self.pad
+ self._added[:, step] = 0

generate > generate end_token_ends
- int(text[-1]) in self.eos
+ int(text[0]) in self.eos
- if step + 1 == self.new_tokens or ended.all():
+ if step + 1 == self.new_tokens:

prompts > generate tensors_are_prompts_too
- target[len(target) - len(row) :] = row
+ target[: len(row)] = row

prompts > generate does_not_matter
- ids.shape[1] - lengths[:, None], pad_token_id, ids)
+ 0, pad_token_id, ids)

stopping > text across_tokens (3, 'END')
- needed = len(data) + self._longest - 1
+ needed = self._longest - 1

stopping > text first_place
- text[: min(places)]
+ text[: places[0]]

stopping > text never_comes
- True)) + self._flush()
+ True))
- return length
+ return 0

stopping > text pieces_are_whole (2,)
- self._decoder.decode(self._tokenizer.decode_bytes(ids))
+ self._tokenizer.decode(ids)

text > text pieces_are_whole (3,)
- if token not in job.eos and
+ if
"""

# The order of the processors: whole blocks change places.
PENALTY, TEMPERATURE, TOP_K, TOP_P = (
    re.compile(rf"^ +if config\.{name}.*\n.*\n", re.MULTILINE)
    for name in ("repetition_penalty", "temperature", "top_k", "top_p")
)


def _catalogue():
    for group in CATALOGUE.strip().split("\n\n"):
        header, *lines = group.splitlines()
        module, file, words, arguments = re.fullmatch(r"(\w+) > (\w+) (\w+) ?(.*)", header).groups()
        killer = (file, words, ast.literal_eval(arguments or "()"))
        for old, new in zip(lines[::2], lines[1::2], strict=True):
            assert (old[:2], new[:2]) == ("- ", "+ "), "a mutant is two lines"
            yield module, old[2:], new[2:], killer
    path = Path(sys.modules[f"{PACKAGE}.sampling"].__file__)
    source = path.read_text(encoding="utf-8")
    penalty, temperature, top_k, top_p = (
        block.search(source)[0] for block in (PENALTY, TEMPERATURE, TOP_K, TOP_P)
    )
    before, after = temperature + top_k + top_p, top_k + top_p + temperature
    yield "sampling", before, after, ("sampling", "temperature_comes_before", ())
    yield "sampling", top_k + top_p, top_p + top_k, ("sampling", "top_k_comes_before_top_p", ())
    yield "sampling", penalty, "", ("sampling", "penalty_comes_before", ())


def _mutate(monkeypatch, name, old, new):
    """Run the module's source with one place changed, and put its functions and classes in."""
    right = sys.modules[f"{PACKAGE}.{name}"]
    source = Path(right.__file__).read_text(encoding="utf-8")
    assert old in source, f"{name}.py no longer has {old!r}"
    wrong = types.ModuleType(right.__name__)
    exec(compile(source.replace(old, new), f"mutant of {name}.py", "exec"), vars(wrong))
    everywhere = [m for key, m in list(sys.modules.items()) if key.startswith(PACKAGE)]
    for module in everywhere:
        for attribute, value in list(vars(module).items()):
            if value is right:
                monkeypatch.setattr(module, attribute, wrong)
            elif getattr(value, "__module__", None) == right.__name__ and hasattr(wrong, attribute):
                monkeypatch.setattr(module, attribute, getattr(wrong, attribute))
    monkeypatch.setitem(sys.modules, right.__name__, wrong)


def _load(name):
    """A file of tests as a module, whose imports find the mutant."""
    path = HERE / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"mutants_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _run(killer):
    file, words, arguments = killer
    conftest, tests = _load("conftest"), _load(f"test_{file}")
    (test,) = [f for key, f in vars(tests).items() if key.startswith("test_") and words in key]
    toys = types.SimpleNamespace(**vars(conftest))
    fixtures = {
        "toys": lambda: toys,
        "model": lambda: toys.TableModel(tests.CHAIN),
        "fair": lambda: toys.TableModel(tests.np.zeros((50, 50))),
    }
    names = list(inspect.signature(test).parameters)
    given = {name: fixtures[name]() for name in names if name in fixtures}
    # The others come in the order in which the test names them.
    given |= zip([name for name in names if name not in fixtures], arguments, strict=True)
    test(**given)


MUTANTS = list(_catalogue())


@pytest.mark.parametrize(
    ("module", "old", "new", "killer"),
    MUTANTS,
    ids=[f"{m[0]}: {m[2].strip().split(chr(10))[0][:60]}" for m in MUTANTS],
)
def test_mutant_dies(monkeypatch, module, old, new, killer):
    _mutate(monkeypatch, module, old, new)
    # Within enable_grad, as a mutant may leave it switched off.
    with enable_grad(), pytest.raises((Exception, pytest.fail.Exception)):  # noqa: B017
        _run(killer)


@pytest.mark.parametrize("killer", sorted({m[3] for m in MUTANTS}, key=str), ids=lambda k: k[1])
def test_the_right_code_lives(killer):
    _run(killer)
