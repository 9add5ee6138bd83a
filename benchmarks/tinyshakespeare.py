"""nanoGPT's CPU setting on Tiny Shakespeare, ours and PyTorch eager's, side by side in one run.

4 layers, 4 heads, width 128, context 64, batch 12, 2,000 steps, no dropout, nanoGPT's schedule.
Both start from the same weights and see the same batches; they take turns of 100 steps, so that a
machine whose speed drifts slows both alike. The validation loss is over the whole held-out split.

    python benchmarks/tinyshakespeare.py            # needs PyTorch for the peer
    python benchmarks/tinyshakespeare.py --no-peer
"""

import argparse
import time
from pathlib import Path

import numpy as np
from machine import machine_card

from tinygrad_llm import data, rng, tokenizers
from tinygrad_llm.files import write_json
from tinygrad_llm.training import TrainConfig, Trainer, evaluate
from tinygrad_llm.training.run import build

CONFIG = TrainConfig(
    data="tinyshakespeare", tokenizer="char", model="gpt", context=64, n_layer=4, n_head=4,
    n_embd=128, dropout=0.0, bias=False, steps=2000, batch_size=12, learning_rate=1e-3,
    min_learning_rate=1e-4, warmup_steps=100, schedule="cosine", weight_decay=0.1, beta1=0.9,
    beta2=0.99, grad_clip=1.0, seed=1337,
)  # fmt: skip
TURN = 100  # steps
RESULTS = Path(__file__).parent / "results" / "tinyshakespeare.json"
FIGURE = RESULTS.with_suffix(".png")


class Ours:
    """tinygrad_llm, through the training loop that users get."""

    name = "tinygrad_llm"

    def __init__(self, model, corpus):
        self.trainer = Trainer(CONFIG, model, corpus)

    def steps(self, count):
        for _ in range(count):
            loss, _, _ = self.trainer.train_step()
            self.trainer.step += 1
        return loss

    def validation_loss(self, corpus):
        return evaluate(self.trainer.model, corpus, CONFIG.context).loss


class PyTorch:
    """The same model and steps in PyTorch eager."""

    name = "PyTorch eager"

    def __init__(self, start, vocab_size, corpus, threads):
        import torch
        from torch_gpt import TorchGPT

        torch.set_num_threads(threads)
        self.torch, self.corpus, self.step = torch, corpus, 0
        self.model = TorchGPT(
            vocab_size, CONFIG.context, CONFIG.n_layer, CONFIG.n_head, CONFIG.n_embd, CONFIG.bias
        )
        # A copy each: the two must not train the same memory.
        self.model.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in start.items()})
        self.optimizer = self.model.optimizer(
            CONFIG.learning_rate, CONFIG.weight_decay, (CONFIG.beta1, CONFIG.beta2)
        )

    def steps(self, count):
        for _ in range(count):
            ids, targets = data.batch(
                self.corpus.train, CONFIG.batch_size, CONFIG.context, CONFIG.seed, self.step
            )
            loss = self.model.train_step(
                self.optimizer, np.ascontiguousarray(ids), np.ascontiguousarray(targets),
                CONFIG.learning_rate_at(self.step), CONFIG.grad_clip,
            )  # fmt: skip
            self.step += 1
        return loss

    def validation_loss(self, corpus):
        total, count = 0.0, 0
        with self.torch.no_grad():
            for ids, targets in corpus.evaluation_batches(64, CONFIG.context):
                ids, targets = (self.torch.from_numpy(a.copy()) for a in (ids, targets))
                total += self.model.loss(ids, targets).item() * targets.numel()
                count += targets.numel()
        return total / count


def run(steps, peer, threads):
    text = data.load_text(CONFIG.data)
    tokenizer = tokenizers.CharTokenizer.train(text)
    corpus = data.prepare(CONFIG.data, tokenizer, CONFIG.validation)
    rng.manual_seed(CONFIG.seed)
    model = build(CONFIG, tokenizer.vocab_size)
    start = {name: tensor.array.copy() for name, tensor in model.state_dict().items()}
    runners = [Ours(model, corpus)]
    if peer:
        runners.append(PyTorch(start, tokenizer.vocab_size, corpus, threads))
    curves = {r.name: [(0, r.validation_loss(corpus))] for r in runners}
    seconds = {r.name: [] for r in runners}
    for done in range(0, steps, TURN):
        count = min(TURN, steps - done)
        for r in runners:
            started = time.perf_counter()
            r.steps(count)
            seconds[r.name].append((time.perf_counter() - started) / count)
            if (done + count) % 200 == 0 or done + count == steps:
                curves[r.name].append((done + count, r.validation_loss(corpus)))
                step, loss = curves[r.name][-1]
                milliseconds = seconds[r.name][-1] * 1e3
                print(f"{r.name:>14} step {step:5}: {loss:.4f}, {milliseconds:.1f} ms", flush=True)
    return {
        "setting": CONFIG.to_dict() | {"steps": steps},
        "threads": threads,
        "parameters": model.num_parameters(),
        "runs": {
            r.name: {
                "validation_loss": curves[r.name][-1][1],
                "best_validation_loss": min(loss for _, loss in curves[r.name]),
                "seconds_of_steps": sum(s * TURN for s in seconds[r.name]),
                "median_step_ms": float(np.median(seconds[r.name]) * 1e3),
                "step_ms_by_turn": [round(s * 1e3, 2) for s in seconds[r.name]],
                "curve": curves[r.name],
            }
            for r in runners
        },
        "machine": machine_card("torch", "numba"),
    }


def draw(result, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for number, (name, r) in enumerate(result["runs"].items()):
        steps, losses = zip(*r["curve"], strict=True)
        label = f"{name}: {r['validation_loss']:.3f}, {r['seconds_of_steps']:.0f} s"
        # The curves coincide: the first is drawn broad, so that it can be seen behind the second.
        axes.plot(steps, losses, linewidth=1.5 if number else 6, alpha=1 if number else 0.4,
                  label=label)  # fmt: skip
    axes.axhline(1.88, color="0.6", linestyle="--", linewidth=1)
    axes.annotate("nanoGPT's README: 1.88", (0, 1.88), textcoords="offset points", xytext=(4, 4))
    axes.set(xlabel="step", ylabel="validation loss (nats per character)", ylim=(1.6, 4.3))
    axes.set_title(f"Tiny Shakespeare, nanoGPT's CPU setting, {result['machine']['cpu']}, "
                   f"{result['threads']} threads", fontsize=9)  # fmt: skip
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--no-peer", action="store_true", help="leave PyTorch out")
    parser.add_argument("--steps", type=int, default=CONFIG.steps)
    parser.add_argument("--threads", type=int, default=machine_card()["cores"])
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    result = run(arguments.steps, not arguments.no_peer, arguments.threads)
    write_json(arguments.out, result)
    draw(result, arguments.out.with_suffix(".png"))
    for name, r in result["runs"].items():
        print(f"{name}: {r['validation_loss']:.4f}, {r['seconds_of_steps']:.1f} s")


if __name__ == "__main__":
    main()
