"""Write README's tables from the results files, between its markers: no number by hand.

python benchmarks/report.py            # rewrites README.md
python benchmarks/report.py --check    # exit 1 if README.md is not what the results say
"""

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"


def load(name):
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else None


def table(header, rows):
    lines = [header, ["---"] + ["--:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def card(result):
    machine = result["machine"]
    versions = ", ".join(f"{k} {v}" for k, v in machine["packages"].items() if v)
    return (
        f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}, {versions}, "
        f"{machine['date']}"
    )


def ladder():
    result = load("ladder")
    rows = [
        (
            row["model"],
            f"{row['bits_per_character']:.3f}",
            f"{row['parameters']:,}",
            f"{row['seconds']:.1f} s",
        )
        for row in result["rows"]
    ]
    steps = result["steps"]
    return (
        "Every model family on one axis: bits per character of the held-out tenth of the default "
        f"corpus (less is better). The neural models saw {steps:,} batches of 16 x 64 "
        "characters, an n-gram the whole text once.\n\n"
        + table(("model", "bits per character", "parameters", "training"), rows)
        + f"\n\n<sub>`python benchmarks/ladder.py --steps {steps}`: {card(result)}</sub>"
    )


def tinyshakespeare():
    result = load("tinyshakespeare")
    rows = [
        (
            name,
            f"{run['validation_loss']:.4f}",
            f"{run['seconds_of_steps']:.0f} s",
            f"{run['median_step_ms']:.1f} ms",
        )
        for name, run in result["runs"].items()
    ]
    setting = result["setting"]
    return (
        f"nanoGPT's CPU setting on Tiny Shakespeare ({setting['n_layer']} layers, "
        f"{setting['n_head']} heads, width {setting['n_embd']}, context {setting['context']}, "
        f"batch {setting['batch_size']}, {setting['steps']:,} steps), from the same weights, on "
        "the same batches, taking turns in one process; loss over the whole validation split:\n\n"
        + table(("", "validation loss", "time of all steps", "a step (median)"), rows)
        + f"\n\n<sub>`python benchmarks/tinyshakespeare.py`, {result['threads']} threads: "
        f"{card(result)}</sub>"
    )


def overhead():
    result = load("overhead")
    shown = [row for row in result["rows"] if row["operations"] == 1 or "residual" in row["case"]]
    cells = {(row["case"], row["way"]): row for row in shown}
    rows = [
        (
            case,
            *(
                f"{cells[case, way]['ours_median']:.1f} / {cells[case, way]['pytorch_median']:.1f}"
                f" ({cells[case, way]['ratio']:.2f})"
                for way in ("forward", "both")
            ),
        )
        for case in dict.fromkeys(row["case"] for row in shown)
    ]
    mean = result["summary"]
    return (
        "What the engine itself costs, on tensors so small that nothing else counts: microseconds, "
        "ours / PyTorch eager's (ratio), one thread, in turns. The geometric mean of the ratios "
        f"over all cases is {mean['forward']:.2f} forward and {mean['both']:.2f} with backward; "
        "below 1 is cheaper than PyTorch.\n\n"
        + table(("", "forward", "forward and backward"), rows)
        + f"\n\n<sub>`python benchmarks/overhead.py`: {card(result)}</sub>"
    )


def tokenizers():
    result = load("tokenizers")
    rows = []
    for row in result["training"]:
        ours, theirs = (row["seconds"][name] for name in ("tinygrad_llm", "tokenizers"))
        rows.append(
            (
                f"train {row['bytes'] / 1e6:.2g} MB to {row['vocab_size']:,} entries",
                f"{ours:.2f} s",
                f"{theirs:.2f} s (tokenizers)",
            )
        )
    for row in result["encoding"]:
        speed = row["megabytes_per_second"]
        rows.append(
            (
                f"encode, vocabulary {row['vocabulary']}",
                f"{speed['tinygrad_llm']:.1f} MB/s",
                f"{speed['tiktoken']:.1f} (tiktoken), {speed['tokenizers']:.1f} (tokenizers) MB/s",
            )
        )
    return (
        "Byte-level BPE in pure Python beside libraries written in Rust:\n\n"
        + table(("", "tinygrad_llm", "peer"), rows)
        + f"\n\n<sub>`python benchmarks/tokenization.py`: {card(result)}</sub>"
    )


SECTIONS = {
    "ladder": ladder,
    "tinyshakespeare": tinyshakespeare,
    "overhead": overhead,
    "tokenizers": tokenizers,
}


def between(text, mark, content):
    """The text with what stands between <!-- mark --> and <!-- /mark --> replaced."""
    start, end = f"<!-- {mark} -->\n", f"<!-- /{mark} -->"
    if start not in text or end not in text:
        raise SystemExit(f"README.md has no marks {start.strip()} ... {end}")
    head, rest = text.split(start, 1)
    return head + start + content + "\n" + end + rest.split(end, 1)[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing, compare only")
    arguments = parser.parse_args()
    path = ROOT / "README.md"
    old = new = path.read_text("utf-8")
    for name, section in SECTIONS.items():
        if load(name) is not None:
            new = between(new, f"results: {name}", section())
    if arguments.check:
        sys.exit(None if new == old else "README.md is not what the results files say")
    path.write_text(new, "utf-8")


if __name__ == "__main__":
    main()
