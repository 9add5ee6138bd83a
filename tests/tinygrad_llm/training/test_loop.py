"""The loop does what the textbook says, held against it step by step."""

import json
import math

import numpy as np
import pytest

from tinygrad_llm import data, models, nn, optim, rng, tokenizers
from tinygrad_llm.errors import DataError, TrainingError
from tinygrad_llm.training import TrainConfig, Trainer, evaluate, resume, train
from tinygrad_llm.training.log import read_log
from tinygrad_llm.training.parts import build, make_tokenizer


@pytest.fixture
def prepared():
    """prepared(config) -> a Trainer at step 0, and the reports it makes."""

    def make(config):
        tokenizer = make_tokenizer(config)
        corpus = data.prepare(config.data, tokenizer, config.validation)
        rng.manual_seed(config.seed)
        reports = []
        trainer = Trainer(
            config, build(config, tokenizer.vocab_size), corpus,
            lambda event, **values: reports.append((event, values)),
        )  # fmt: skip
        trainer.model.train()
        return trainer, reports

    return make


def weights(model):
    return {name: tensor.array.copy() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("model", ["gpt", "mlp", "rnn", "lstm", "gru"])
def test_every_family_learns(model, configure):
    config = configure(
        model, steps=100, batch_size=8, dropout=0.0, learning_rate=2e-2, eval_interval=100,
        eval_tokens=0, checkpoint_interval=0,
    )  # fmt: skip
    run = train(config)
    log = read_log(config.folder / "log.jsonl")
    first, last = [e["loss"] for e in log if e["event"] == "evaluation"]
    vocab_size = run.tokenizer.vocab_size
    assert first == pytest.approx(math.log(vocab_size), abs=0.1)
    assert last < 0.8 * first  # knows more than how frequent each letter is
    assert run.evaluation.loss == last
    assert run.evaluation.bits_per_character == pytest.approx(last / math.log(2))


def test_a_step_is_the_textbooks(configure, prepared):
    """Batches, mean loss, gradient clipping, the schedule and AdamW, written out."""
    config = configure(accumulation=2, dropout=0.0, grad_clip=0.5, weight_decay=0.3, steps=5)
    trainer, _ = prepared(config)
    model = build(config, trainer.model.config.vocab_size)
    model.load_state_dict(weights(trainer.model))
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim == 1]
    optimizer = optim.AdamW(
        [{"params": matrices, "weight_decay": 0.3}, {"params": others, "weight_decay": 0.0}],
        betas=(0.9, 0.99),
    )
    norms = []
    for step in range(5):
        # Warm-up over 2 steps, then half a cosine from 3e-3 to 3e-4 at step 5.
        if step < 2:
            rate = 3e-3 * (step + 1) / 3
        else:
            rate = 3e-4 + (3e-3 - 3e-4) * 0.5 * (1 + math.cos(math.pi * (step - 2) / 3))
        optimizer.zero_grad()
        mean = 0.0
        for micro in (2 * step, 2 * step + 1):
            x, y = data.batch(trainer.corpus.train, 3, 8, seed=5, step=micro)
            loss = model.loss(x, y) / 2
            loss.backward()
            mean += loss.item()
        norm = math.sqrt(sum(float((p.grad.array.astype(float) ** 2).sum())
                             for p in model.parameters()))  # fmt: skip
        norms.append(norm)
        for p in model.parameters():
            p.grad = p.grad * min(1.0, 0.5 / norm)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()

        got = trainer.train_step()
        trainer.step += 1
        assert got == pytest.approx((mean, norm, rate), rel=1e-5)
        for name, array in weights(model).items():
            np.testing.assert_allclose(
                # The bias of the keys has no gradient but rounding, which Adam takes for one.
                trainer.model.state_dict()[name].array,
                array,
                rtol=1e-4,
                atol=1e-5,
            )
    assert max(norms) > 0.5  # something was clipped


def test_accumulation_equals_a_larger_batch(configure, prepared, monkeypatch):
    """3 batches of 4 windows give the gradient of one batch of 12."""
    small, _ = prepared(configure(batch_size=4, accumulation=3, dropout=0.0))
    large, _ = prepared(configure(batch_size=12, accumulation=1, dropout=0.0))
    real = data.batch

    def batch(tokens, batch_size, context, seed, step):
        if batch_size == 4:
            return real(tokens, 4, context, seed, step)
        parts = [real(tokens, 4, context, seed, 3 * step + i) for i in range(3)]
        return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))

    monkeypatch.setattr(data, "batch", batch)
    for step in range(3):
        one, other = small.train_step(), large.train_step()
        assert one == pytest.approx(other, rel=1e-4), step
        small.step += 1
        large.step += 1
    for name, array in weights(small.model).items():
        # Adam divides by the gradient's size: where that is near 0, rounding shows.
        np.testing.assert_allclose(
            large.model.state_dict()[name].array, array, rtol=1e-3, atol=1e-4
        )


def test_no_clipping_if_it_is_0(configure, prepared):
    clipped, _ = prepared(configure(grad_clip=1e-3, dropout=0.0))
    free, _ = prepared(configure(grad_clip=0.0, dropout=0.0))
    (_, norm, _), (_, same, _) = clipped.train_step(), free.train_step()
    assert norm == same > 0.1  # the length before clipping is what is reported
    length = math.sqrt(sum(float((p.grad.array**2).sum()) for p in clipped.parameters))
    assert length == pytest.approx(1e-3, rel=1e-2)
    length = math.sqrt(sum(float((p.grad.array**2).sum()) for p in free.parameters))
    assert length == pytest.approx(norm, rel=1e-5)


def test_what_is_reported_and_when(configure, prepared):
    config = configure(steps=7, eval_interval=3, checkpoint_interval=2)
    trainer, reports = prepared(config)
    trainer.run()
    seen = [(event, values.get("step", trainer.step)) for event, values in reports]
    checkpoints = [i for i, (event, _) in enumerate(seen) if event == "checkpoint"]
    assert [(e, s) for e, s in seen if e != "checkpoint"] == [
        ("evaluation", 0), ("step", 1), ("step", 2), ("step", 3), ("evaluation", 3), ("step", 4),
        ("step", 5), ("step", 6), ("evaluation", 6), ("step", 7), ("evaluation", 7),
    ]  # fmt: skip
    # After steps 2, 4 and 6, and after the last one; an evaluation comes before.
    assert [seen[i - 1] for i in checkpoints] == [
        ("step", 2), ("step", 4), ("evaluation", 6), ("evaluation", 7),
    ]  # fmt: skip
    assert trainer.model.training
    first = reports[0][1]
    assert first["improved"]
    assert first["result"].tokens >= 40


def test_best_is_the_best_and_last_the_last(configure):
    """A learning rate that does harm: best/ stays what it was when the loss was lowest."""
    config = configure(
        steps=24, learning_rate=0.5, min_learning_rate=0.5, schedule="constant", grad_clip=0.0,
        warmup_steps=20, eval_tokens=0, checkpoint_interval=0,
    )  # fmt: skip
    run = train(config)
    log = [e for e in read_log(run.folder / "log.jsonl") if e["event"] == "evaluation"]
    best = min(log, key=lambda e: e["loss"])
    assert 0 < best["step"] < 24
    about = json.loads((run.folder / "best" / "checkpoint.json").read_text())
    assert about["step"] == best["step"]
    corpus = data.prepare(config.data, run.tokenizer, config.validation)
    assert evaluate(models.load(run.folder / "best"), corpus, 8).loss == about["loss"]
    assert evaluate(models.load(run.folder / "last"), corpus, 8).loss == log[-1]["loss"]


# -- evaluation --


class Counting(nn.Module):
    """A model that gives every token the same probability but the last one of the text."""

    def __init__(self, vocab_size):
        super().__init__()
        self.config = type("C", (), {"vocab_size": vocab_size})()
        self.seen, self.inputs = [], []
        self.frozen = nn.Dropout(0.5).eval()

    def loss(self, inputs, targets):
        assert not self.training
        self.seen.append(targets.copy())
        self.inputs.append(inputs.copy())
        return np.float32(targets.mean())  # has .item(), as a Tensor has


@pytest.mark.parametrize("length", [1, 7, 8, 9, 64, 65, 530, 1000])
@pytest.mark.parametrize("batch_size", [None, 1, 5])
def test_every_validation_token_is_a_target_once(length, batch_size):
    tokens = np.arange(3000, dtype=np.uint16)
    corpus = data.TokenCorpus(tokens[:2000], tokens[2000 : 2000 + length], 2000, 2 * length, 3000)
    model = Counting(3000)
    result = evaluate(model, corpus, 8, batch_size)
    seen = np.concatenate([t.ravel() for t in model.seen])
    np.testing.assert_array_equal(seen, corpus.validation)
    inputs = np.concatenate([t.ravel() for t in model.inputs])
    np.testing.assert_array_equal(inputs, seen - 1)  # the first one follows the training text
    assert result.tokens == length
    # Each token counts the same, though the last windows are smaller.
    assert result.loss == pytest.approx(corpus.validation.mean(), rel=1e-5)
    assert result.characters == 2 * length
    assert result.bits_per_character == pytest.approx(result.loss / 2 / math.log(2))
    assert model.training  # as it was
    assert not model.frozen.training  # and so is this one


def test_a_limit_and_the_memory_of_a_batch():
    tokens = np.arange(3000, dtype=np.uint16)
    corpus = data.TokenCorpus(tokens[:2000], tokens[2000:], 2000, 3000, 3000)
    model = Counting(3000)
    assert evaluate(model, corpus, 8, 5, limit=93).tokens == 93
    # A large vocabulary makes the logits large: fewer windows at once.
    large = Counting(1 << 20)
    evaluate(large, corpus, 8)
    assert {len(targets) for targets in large.seen} == {1}
    evaluate(model, corpus, 8)
    assert max(len(targets) for targets in model.seen) == 64


def test_a_huge_loss_is_no_error():
    tokens = np.arange(20, dtype=np.uint16)
    corpus = data.TokenCorpus(tokens[:10], tokens[10:], 10, 10, 20)
    model = Counting(20)
    model.loss = lambda inputs, targets: np.float64(1e5)
    assert math.isfinite(evaluate(model, corpus, 8).perplexity)


# -- what is not finite --


def test_a_loss_that_is_not_finite_stops_the_run_with_the_last_good_checkpoint(
    configure, monkeypatch, state_of
):
    config = configure(steps=9, checkpoint_interval=2, eval_interval=100)
    original = Trainer.train_step

    def poisoned(self):
        if self.step == 5:  # a fault of the memory, say
            self.model.transformer.wte.weight.array[3, 1] = np.nan
        return original(self)

    monkeypatch.setattr(Trainer, "train_step", poisoned)
    with pytest.raises(TrainingError) as caught:
        train(config)
    message = str(caught.value)
    assert message.startswith("step 6: the loss is nan")
    assert f"the last good checkpoint, of step 4, is {config.folder / 'last'}" in message
    last = read_log(config.folder / "log.jsonl")[-1]
    assert (last["event"], last["step"]) == ("error", 5)
    assert "nan" in last["message"]
    model = models.load(config.folder / "last")
    assert all(np.isfinite(p.array).all() for p in model.parameters())
    # And the run can go on from there, once its cause is gone.
    monkeypatch.undo()
    monkeypatch.setattr("tinygrad_llm.training.recorder.plot_loss", lambda *_: None)
    resume(config.folder)
    whole = configure(steps=9, checkpoint_interval=2, eval_interval=100)
    train(whole)
    assert state_of(config.folder) == state_of(whole.folder)


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_weights_that_overflow_are_not_saved(configure):
    """The loss before the step is fine, and so is its gradient."""
    config = configure(
        steps=4, checkpoint_interval=1, eval_interval=100, learning_rate=1e38,
        min_learning_rate=1e38, schedule="constant", warmup_steps=0, weight_decay=1e3,
    )  # fmt: skip
    with pytest.raises(
        TrainingError, match=r"step 1: .* not finite.*--learning-rate 1e\+37.*no chec"
    ):
        train(config)
    assert not (config.folder / "last").exists()
    assert (config.folder / "best").exists()  # of step 0
    assert read_log(config.folder / "log.jsonl")[-1]["event"] == "error"


def test_a_validation_loss_that_is_not_finite_is_told_at_once(configure, monkeypatch):
    config = configure(steps=4, eval_interval=2)
    original = Trainer.evaluate

    def evaluated(self):
        if self.step == 2:
            self.model.transformer.ln_f.weight.array[0] = np.inf
        return original(self)

    monkeypatch.setattr(Trainer, "evaluate", evaluated)
    with np.errstate(all="ignore"), pytest.raises(TrainingError, match="step 2: the validation lo"):
        train(config)
    for line in (config.folder / "log.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))


# -- texts that do not do --


def test_a_text_shorter_than_the_context(configure, text_file):
    text_file.write_text("0123456789")
    with pytest.raises(ValueError, match="9 tokens, but context=9 needs at least 10. Use a longer"):
        train(configure(context=9))
    with pytest.raises(ValueError, match="9 tokens, but order=10 needs at least 10"):
        train(configure("ngram", order=10))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n \n", "nothing but white space"),
        (b"x", "too few to hold out"),
        (b"\x89PNG\r\n\x1a\n\0\0\0", "is a binary file"),
        ("Stra\xdfe".encode("latin1") * 9, "not UTF-8"),
    ],
)
def test_a_file_that_is_no_text(configure, text_file, content, message):
    text_file.write_bytes(content)
    config = configure()
    with pytest.raises(DataError, match=message):
        train(config)
    assert not config.folder.exists()


def test_a_file_that_is_not_there(configure, tmp_path):
    with pytest.raises(DataError, match=r"does not exist; did you mean 'text\.txt'"):
        train(configure(data=str(tmp_path / "texts.txt")))


def test_a_tokenizer_that_is_not_there(configure):
    with pytest.raises(ValueError, match="tokenizer='bqe' is not accepted; it must be char, bpe, "):
        train(configure(tokenizer="bqe"))


def test_byte_pairs_are_learned_from_the_training_part_alone(configure, text_file):
    text_file.write_text("ab" * 900 + "xyz" * 70)  # 90 % of it is "abab...", with no z
    tokenizer = make_tokenizer(configure(tokenizer="bpe", vocab_size=260))
    merged = [token for token in tokenizer.vocab.values() if len(token) > 1]
    assert merged
    assert all(set(token) <= set(b"ab") for token in merged)


@pytest.mark.parametrize(("marks", "end"), [(["<|x|>", "<|endoftext|>"], 261), (["<|x|>"], None)])
def test_a_checkpoint_knows_the_end_of_text_of_its_own_tokenizer(marks, end, configure, tmp_path):
    """GPT-2's 50256 is no token here, or in a larger vocabulary some other one."""
    folder = tmp_path / "tokenizer"
    tokenizers.Tokenizer.train("ab" * 50 + "cd" * 50 + "ac" * 50, 262, marks).save(folder)
    assert tokenizers.load(folder).special_tokens.get("<|endoftext|>") == end
    run = train(configure("gpt", tokenizer=str(folder), steps=1))
    kept = json.loads((run.folder / "last" / "config.json").read_text())
    assert kept["eos_token_id"] == kept["bos_token_id"] == end
    resume(run.folder, steps=2)


def test_the_runs_files_do_not_become_a_part_of_its_text(configure, text_file):
    inside = {"data": str(text_file.parent), "tokenizer": "bpe", "vocab_size": 260}
    with pytest.raises(ValueError, match=r"merges\.txt of the saved tokenizer would become"):
        train(configure(**inside))
    run = train(configure(**{**inside, "tokenizer": "char"}))
    resume(run.folder, steps=7)


def test_a_configuration_alone_is_enough(text_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = train(TrainConfig(data=str(text_file), model="ngram", order=2))
    assert run.folder.name == "text-ngram"
    assert run.evaluation.bits_per_character < 4
