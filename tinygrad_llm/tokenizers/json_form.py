"""`tokenizer.json`: the one-file form of Hugging Face's `tokenizers`, in both directions.

Byte-level BPE is their model "BPE" behind a "ByteLevel" pre-tokenizer. Characters are their
"WordLevel" behind a split into single characters. What they can express and we cannot is an error
that names it, except for the post-processor (which adds marks such as <s> around a text; like
their `add_special_tokens=False`, we never do).
"""

from typing import Any

from tinygrad_llm.errors import TokenizerError
from tinygrad_llm.tokenizers.bpe import Tokenizer
from tinygrad_llm.tokenizers.characters import CharTokenizer
from tinygrad_llm.tokenizers.gpt2_form import (
    spell,
    unspell,
    vocab_from_json,
    vocab_to_json,
)
from tinygrad_llm.tokenizers.split import GPT2_PATTERN

Json = dict[str, Any]

EVERYTHING = r"[\s\S]+"  # the pattern that does not split
ONE_CHARACTER = r"[\s\S]"
NO_UNK = (
    "<unk>"  # WordLevel must name one; if it is not in the vocabulary, it is an error there too
)


def bpe_to_json(tokenizer: Tokenizer) -> Json:
    vocab = vocab_to_json(tokenizer.vocab, tokenizer.special_tokens)
    added = [
        {
            "id": token_id,
            "content": mark,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for mark, token_id in sorted(tokenizer.special_tokens.items(), key=lambda item: item[1])
    ]
    model = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": "",
        "end_of_word_suffix": "",
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
        "vocab": vocab,
        # "a b" is read by every version; ["a", "b"] only since 0.20.
        "merges": [f"{spell(left)} {spell(right)}" for left, right in tokenizer.merges],
    }
    return _document(added, _pre_tokenizer(tokenizer.pattern), _byte_level(), model)


def bpe_from_json(content: Json, where: str) -> Tokenizer:
    model = content["model"]
    _refuse(content, where, "normalizer", (None,))
    _refuse(model, f"{where}, model", "dropout", (None, 0, 0.0))
    _refuse(model, f"{where}, model", "ignore_merges", (None, False))
    _refuse(model, f"{where}, model", "continuing_subword_prefix", (None, ""))
    _refuse(model, f"{where}, model", "end_of_word_suffix", (None, ""))
    pattern = _pattern(content.get("pre_tokenizer"), where)

    special: dict[str, int] = {}
    for number, token in enumerate(_get(content, "added_tokens", list, where, default=[])):
        place = f"{where}, added_tokens[{number}]"
        text = _get(token, "content", str, place)
        for option in ("lstrip", "rstrip", "single_word"):
            _refuse(token, f"{place} ({text!r})", option, (None, False))
        special[text] = _get(token, "id", int, place)

    place = f"{where}, model"
    vocab = vocab_from_json(_get(model, "vocab", dict, place), f"{place}.vocab", special)
    merges = []
    for number, merge in enumerate(_get(model, "merges", list, place)):
        spot = f"{place}.merges[{number}]"
        parts = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(parts, list) or len(parts) != 2 or not all(parts):
            raise TokenizerError(f'{spot}: {merge!r} is not a merge; "a b" or ["a", "b"] expected')
        left, right = (unspell(part, spot) for part in parts)
        merges.append((left, right))
    try:
        return Tokenizer(vocab, merges, special, pattern)
    except TokenizerError as error:
        raise TokenizerError(f"{where}: {error}") from error


def characters_to_json(tokenizer: CharTokenizer) -> Json:
    vocab = {token.decode(): token_id for token_id, token in tokenizer.vocab.items()}
    model = {"type": "WordLevel", "vocab": vocab, "unk_token": tokenizer.unk or NO_UNK}
    return _document([], _split(ONE_CHARACTER), {"type": "Fuse"}, model)


def characters_from_json(content: Json, where: str) -> CharTokenizer:
    model = content["model"]
    vocab = _get(model, "vocab", dict, f"{where}, model")
    if content.get("pre_tokenizer") != _split(ONE_CHARACTER):
        raise TokenizerError(f"{where}: of the WordLevel tokenizers only characters can be read")
    if set(map(repr, vocab.values())) != set(map(repr, range(len(vocab)))):
        raise TokenizerError(f"{where}, model.vocab: the ids 0 to {len(vocab) - 1} are expected")
    unk = _get(model, "unk_token", str, f"{where}, model", default=None)
    try:
        return CharTokenizer(sorted(vocab, key=vocab.__getitem__), unk if unk in vocab else None)
    except TokenizerError as error:
        raise TokenizerError(f"{where}: {error}") from error


def _document(added: list[Json], pre_tokenizer: Json, decoder: Json, model: Json) -> Json:
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": None,
        "decoder": decoder,
        "model": model,
    }


def _byte_level(use_regex: bool = True) -> Json:
    """Split by GPT-2's pattern (if `use_regex`) and write bytes in its alphabet."""
    return {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": use_regex,
    }


def _split(pattern: str) -> Json:
    return {
        "type": "Split",
        "pattern": {"Regex": pattern},
        "behavior": "Isolated",
        "invert": False,
    }


def _pre_tokenizer(pattern: str) -> Json:
    if pattern == GPT2_PATTERN:
        return _byte_level()
    steps = [_split(pattern), _byte_level(use_regex=False)]
    return {"type": "Sequence", "pretokenizers": steps}


def _pattern(pre_tokenizer: Any, where: str) -> str:
    """The reverse of `_pre_tokenizer`."""
    where = f"{where}, pre_tokenizer"
    steps = [{} if pre_tokenizer is None else pre_tokenizer]
    if _get(steps[0], "type", str, where, default=None) == "Sequence":
        steps = _get(steps[0], "pretokenizers", list, where)
    kinds = [_get(step, "type", str, where, default=None) for step in steps]
    if kinds not in (["ByteLevel"], ["Split", "ByteLevel"]):
        raise TokenizerError(
            f"{where}: {kinds} cannot be read; ByteLevel, or Split and ByteLevel, is accepted"
        )
    _refuse(steps[-1], where, "add_prefix_space", (False,))
    use_regex = steps[-1].get("use_regex", True)
    if kinds == ["ByteLevel"]:
        return GPT2_PATTERN if use_regex else EVERYTHING
    _refuse(steps[-1], where, "use_regex", (False,))
    pattern = _get(_get(steps[0], "pattern", dict, where), "Regex", str, where, default="")
    if steps[0] != _split(pattern):
        raise TokenizerError(
            f'{where}: a Split with a Regex, behavior "Isolated" and invert false is accepted; '
            f"given was {steps[0]}"
        )
    return pattern


def _get(content: Any, name: str, kind: type, where: str, default: Any = ...) -> Any:
    """content[name], which must be of this kind; `default` in place of null or nothing."""
    value = content.get(name) if isinstance(content, dict) else None
    if value is None and isinstance(content, dict) and default is not ...:
        return default
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TokenizerError(
            f"{where}: {name} must be {_JSON_NAMES[kind]}; given was {value!r}"
            if isinstance(content, dict)
            else f"{where}: an object is expected; given was {content!r}"
        )
    return value


_JSON_NAMES = {dict: "an object", list: "a list", str: "a string", int: "an integer"}


def _refuse(content: Json, where: str, option: str, accepted: tuple[Any, ...]) -> None:
    if content.get(option) not in accepted:
        raise TokenizerError(
            f"{where}: {option}={content.get(option)!r} is not supported; "
            f"{' or '.join(map(repr, accepted))} is"
        )
