"""Every model family on one corpus and one axis: bits per character of held-out text.

    python benchmarks/ladder.py            # the default corpus, about 20 minutes on two cores
    python benchmarks/ladder.py --steps 200 --out somewhere.json

Writes a results file and a plot of bits per character against training time. The neural models
all see the same number of characters; sizes are such that a laptop can follow.
"""

import argparse
import tempfile
from pathlib import Path

from machine import machine_card

from tinygrad_llm.files import write_json
from tinygrad_llm.training import TrainConfig, train
from tinygrad_llm.training.progress import Plain, table

RESULTS = Path(__file__).parent / "results" / "ladder.json"
COMMON = {"learning_rate": 2e-3, "min_learning_rate": 2e-4, "batch_size": 16, "context": 64}

# Row name -> what to train. The n-grams take no steps.
LADDER = {
    "1-gram": {"model": "ngram", "order": 1, "smoothing": "laplace"},
    "2-gram, add-k": {"model": "ngram", "order": 2, "smoothing": "add-k"},
    "4-gram, add-k": {"model": "ngram", "order": 4, "smoothing": "add-k"},
    "4-gram, interpolation": {"model": "ngram", "order": 4, "smoothing": "interpolation"},
    "6-gram, interpolation": {"model": "ngram", "order": 6, "smoothing": "interpolation"},
    "6-gram, Kneser-Ney": {"model": "ngram", "order": 6, "smoothing": "kneser-ney"},
    "6-gram, modified Kneser-Ney": {"model": "ngram", "order": 6,
                                    "smoothing": "modified-kneser-ney"},
    "MLP, sigmoid": {"model": "mlp", "activation": "sigmoid"},
    "MLP, tanh": {"model": "mlp", "activation": "tanh"},
    "MLP, ReLU": {"model": "mlp", "activation": "relu"},
    "RNN": {"model": "rnn"},
    "LSTM": {"model": "lstm"},
    "GPT": {"model": "gpt", "n_layer": 4, "n_head": 4, "n_embd": 128},
}  # fmt: skip


def run(source, steps, folder):
    rows = []
    for name, settings in LADDER.items():
        if settings["model"] != "ngram":
            settings = {**COMMON, "steps": steps, "eval_interval": max(steps // 8, 1), **settings}
        config = TrainConfig.from_dict(
            {**settings, "data": source, "out": str(folder / name.replace(" ", "-"))}
        )
        result = train(config, Plain(every=30))
        curve = [
            {"step": e["step"], "seconds": e["seconds"], "bits": e["bits_per_character"]}
            for e in read(config.folder)
        ]
        rows.append(
            {
                "model": name,
                "settings": settings,
                "parameters": result.model.num_parameters(),
                "loss": result.evaluation.loss,
                "bits_per_character": result.evaluation.bits_per_character,
                "seconds": round(result.seconds, 2),
                "curve": curve,
            }
        )
        print(f"{name}: {rows[-1]['bits_per_character']:.3f}", flush=True)
    return {"data": source, "steps": steps, "rows": rows, "machine": machine_card("numba")}


def read(folder):
    from tinygrad_llm.training.log import read_log

    return [e for e in read_log(folder / "log.jsonl") if e["event"] == "evaluation"]


def draw(result, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7.5, 4.6), layout="constrained")
    for row in result["rows"]:
        bits = row["bits_per_character"]
        if len(row["curve"]) > 1:
            points = [(c["seconds"], c["bits"]) for c in row["curve"] if c["seconds"]]
            axes.plot(
                *zip(*points, strict=True), "o-", markersize=3, label=f"{row['model']} {bits:.2f}"
            )
        else:
            axes.axhline(bits, color="0.8", linewidth=0.8)
            axes.annotate(f"{row['model']} {bits:.2f}", (1, bits), fontsize=7, color="0.4",
                          xycoords=("axes fraction", "data"), ha="right", va="bottom")  # fmt: skip
    axes.set(xlabel="seconds of training", ylabel="bits per held-out character", xscale="log")
    axes.set_title(f"One axis for all models: corpus {result['data']!r}, "
                   f"{result['machine']['cpu']}", fontsize=9)  # fmt: skip
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", default="default")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = run(arguments.data, arguments.steps, Path(folder))
    write_json(arguments.out, result)
    draw(result, arguments.out.with_suffix(".png"))
    print(table(
        [(r["model"], f"{r['bits_per_character']:.3f}", f"{r['parameters']:,}", f"{r['seconds']} s")
         for r in result["rows"]],
        ("model", "bits per character", "parameters", "training"),
    ))  # fmt: skip


if __name__ == "__main__":
    main()
