"""Byte-level BPE: seconds to train and speed to encode, beside tiktoken and HF's tokenizers.

    python benchmarks/tokenization.py            # about two minutes on two cores
    python benchmarks/tokenization.py --out somewhere.json

The text is Tiny Shakespeare (where TINYGRAD_LLM_DATA has it) and the standard library's source.
All encode with the same vocabularies, and the script stops if one of them gives other ids. tiktoken
does not train. Ours is Python, theirs are compiled Rust. Each gets one thread, and the seconds are
those of the processor, so that a busy machine disturbs little.
"""

import argparse
import os
import sysconfig
import tempfile
import time
import tracemalloc
from pathlib import Path

os.environ |= {"RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}  # before the import

from machine import machine_card

from tinygrad_llm.files import write_json
from tinygrad_llm.tokenizers import Tokenizer, load, train_bpe_from_text

RESULTS = Path(__file__).parent / "results" / "tokenizers.json"
REPEATS = 5
LETTERS = 200_000


def corpus(size):
    """`size` characters: Shakespeare first, if he is there, then Python source."""
    text = ""
    if data := os.environ.get("TINYGRAD_LLM_DATA"):
        text = (Path(data) / "tinyshakespeare" / "input.txt").read_text("utf-8")
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        text += path.read_text("utf-8")
    return text[:size]


def seconds(function, repeats=REPEATS):
    """(the least processor time of several runs, the result)."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        result = function()
        times.append(time.process_time() - start)
    return round(min(times), 4), result


def train(text, vocab_size, repeats):
    from tokenizers import ByteLevelBPETokenizer

    ours, (vocab, merges) = seconds(lambda: train_bpe_from_text(text, vocab_size), repeats)
    theirs, _ = seconds(
        lambda: ByteLevelBPETokenizer().train_from_iterator(
            [text], vocab_size, min_frequency=1, show_progress=False
        ),
        repeats,
    )
    row = {
        "bytes": len(text.encode()),
        "vocab_size": vocab_size,
        "seconds": {"tinygrad_llm": ours, "tokenizers": theirs},
    }
    return row, Tokenizer(vocab, merges)


def encode(name, ours, text):
    import tiktoken
    from tokenizers import Tokenizer as HFTokenizer

    with tempfile.TemporaryDirectory() as folder:
        ours.save(folder)
        hf = HFTokenizer.from_file(f"{folder}/tokenizer.json")
    special = set(ours.special_tokens.values())
    ranks = {token: i for i, token in ours.vocab.items() if i not in special}
    tik = tiktoken.Encoding(name, pat_str=ours.pattern, mergeable_ranks=ranks, special_tokens={})
    ways = {
        "tinygrad_llm": lambda text: ours.encode(text),
        "tinygrad_llm, encode_iterable": lambda text: list(ours.encode_iterable([text])),
        "tiktoken": tik.encode_ordinary,
        "tokenizers": lambda text: hf.encode(text).ids,
    }
    size = len(text.encode())
    letters = "a" * LETTERS
    row = {"vocabulary": name, "vocab_size": ours.vocab_size, "bytes": size}
    expected = ours.encode(text), ours.encode(letters)
    row["tokens"] = len(expected[0])
    row["megabytes_per_second"], row[f"seconds_for_{LETTERS}_equal_letters"] = {}, {}
    for way, function in ways.items():
        best, ids = seconds(lambda: function(text), 3)  # noqa: B023
        row["megabytes_per_second"][way] = round(size / best / 1e6, 2)
        best, letter_ids = seconds(lambda: function(letters), 3)  # noqa: B023
        row[f"seconds_for_{LETTERS}_equal_letters"][way] = best
        assert (ids, letter_ids) == expected, f"{way} gives other ids"
    best, _ = seconds(lambda: ours.decode(expected[0]), 3)
    row["decode_megabytes_per_second"] = round(size / best / 1e6, 2)
    return row


def stream_memory(ours, text):
    """The most memory that `encode_file` held at a time, in bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "text"
        path.write_bytes(text.encode())
        fresh = Tokenizer(ours.vocab, ours.merges)
        next(fresh.encode_file(path))
        tracemalloc.start()
        for _ in fresh.encode_file(path):
            pass
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return peak


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    text = corpus(5_000_000)

    small, _ = train(text[:130_000], 500, REPEATS)
    large, trained = train(text, 10_000, 3)
    encoding = [encode("trained here", trained, text)]
    if data := os.environ.get("TINYGRAD_LLM_DATA"):
        encoding.append(encode("GPT-2", load(Path(data) / "gpt2"), text))
    result = {
        "training": [small, large],
        "encoding": encoding,
        "encode_file_peak_bytes": stream_memory(trained, text),
        "clock": "processor seconds, one thread each",
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "machine": machine_card("regex", "tiktoken", "tokenizers"),
    }
    write_json(arguments.out, result)

    for row in result["training"]:
        print(f"train {row['bytes']:,} bytes to {row['vocab_size']:,} entries")
        for who, value in row["seconds"].items():
            print(f"    {who:32} {value:8.2f} s")
    for row in encoding:
        print(f"encode {row['bytes']:,} bytes, {row['vocab_size']:,} entries ({row['vocabulary']})")
        for who, value in row["megabytes_per_second"].items():
            letters = row[f"seconds_for_{LETTERS}_equal_letters"][who]
            print(f"    {who:32} {value:8.2f} MB/s {letters:8.2f} s for {LETTERS:,} letters")
    print(f"encode_file holds {result['encode_file_peak_bytes'] / 1e6:.2f} MB at most")


if __name__ == "__main__":
    main()
