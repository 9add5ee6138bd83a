"""The two runs of `tllm demo`: sized for a minute and a half on two cores."""

from pathlib import Path

from tinygrad_llm import data, rng
from tinygrad_llm.training.config import TrainConfig
from tinygrad_llm.training.run import build, make_tokenizer, sample

STEPS = 700


def NGRAM(source: str, folder: Path) -> TrainConfig:  # noqa: N802
    """Six characters at a time, modified Kneser-Ney smoothing."""
    return TrainConfig(
        data=source, model="ngram", order=6, smoothing="modified-kneser-ney", out=str(folder)
    )


def GPT(source: str, folder: Path, steps: int) -> TrainConfig:  # noqa: N802
    """Four layers of width 128: 0.8 million parameters."""
    return TrainConfig(
        data=source, model="gpt", context=64, n_layer=4, n_head=4, n_embd=128, steps=steps,
        batch_size=16, learning_rate=2e-3, min_learning_rate=2e-4, warmup_steps=50,
        eval_interval=max(steps // 4, 1), eval_tokens=20_000, checkpoint_interval=0,
        out=str(folder),
    )  # fmt: skip


def untrained_text(config: TrainConfig, tokens: int = 100) -> str:
    """What the model writes with its initial weights: noise."""
    tokenizer = make_tokenizer(config)
    rng.manual_seed(config.seed)
    model = build(config, tokenizer.vocab_size)
    prompt = [int(data.prepare(config.data, tokenizer, config.validation).validation[0])]
    return sample(model, tokenizer, prompt, tokens, config.seed)
