"""Cutting text into pretokens: the pieces that byte-pair merges never cross.

Without this step BPE would learn "dog.", "dog!" and "dog?" as three tokens (Radford et al. 2019,
section 2.2). First the special tokens are cut out, then a pattern cuts what lies between them.
"""

from collections.abc import Generator, Iterable, Iterator
from typing import Any

from tinygrad_llm.errors import TokenizerError
from tinygrad_llm.tokenizers.text import BLOCK, blocks

# GPT-2's: English contractions; letters, digits or other signs, each with one space before it;
# white space, of which the last character is left for the word that follows it.
GPT2_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

Part = tuple[list[str], str | None]  # pretokens, and the special token after them

MARGIN = 256  # characters that must follow a pretoken before `stream` believes in it


class Splitter:
    """Cuts text at `special_tokens` (the longest wins) and, between them, by `pattern`.

    Text that the pattern does not match becomes pretokens too: nothing is lost.
    """

    def __init__(self, pattern: str, special_tokens: Iterable[str]):
        regex = _regex()
        try:
            compiled = regex.compile(pattern)
            if compiled.groups:
                raise TokenizerError(
                    f"pattern={pattern!r} has a capturing group; write (?:...) in place of (...)"
                )
            if compiled.match("") or compiled.flags & regex.VERBOSE:
                raise TokenizerError(
                    f"pattern={pattern!r} matches the empty string or is verbose, (?x); neither "
                    f"is accepted"
                )
            # What the pattern leaves out, up to where it matches again, is one pretoken.
            self._pretoken = regex.compile(rf"{pattern}|(?:(?!{pattern})[\s\S])+")
        except (regex.error, TypeError) as error:
            raise TokenizerError(f"pattern={pattern!r} is no regular expression: {error}") from None
        # An alternation takes the first branch that fits, so the longest must come first.
        ordered = sorted(special_tokens, key=len, reverse=True)
        self._special = regex.compile("|".join(map(regex.escape, ordered))) if ordered else None
        self._longest = len(ordered[0]) if ordered else 1

    def split(self, text: str) -> Iterator[Part]:
        """Yield (pretokens, the special token after them); at the end of the text that is None."""
        start = 0
        for match in self._special.finditer(text) if self._special else ():
            yield self._pretoken.findall(text[start : match.start()]), match.group()
            start = match.end()
        yield self._pretoken.findall(text[start:] if start else text), None

    def stream(self, texts: Iterable[str], block: int = BLOCK) -> Iterator[Part]:
        """`split` of the joined texts, holding about `block` characters.

        A pretoken longer than that is held whole, for merges may join its ends.
        """
        held: list[str] = []  # not yet cut
        size, needed = 0, block
        for text in blocks(texts, "texts", block):
            held.append(text)
            size += len(text)
            if size < needed:
                continue
            joined = "".join(held)
            settled = yield from self._split_settled(joined)
            held = [joined[settled:]]
            size = len(held[0])
            # A pretoken of a million letters must not be looked at again for each block: waiting
            # for as much again as is held keeps the whole linear.
            needed = size + max(size, block)
        yield from self.split("".join(held))

    def _split_settled(self, text: str) -> Generator[Part, None, int]:
        """Like `split`, for what no later text can change. Returns where that ends.

        A special token may begin at the end of `text`, and the one that is there may be the
        start of a longer one: only those that start `_longest` characters before the end are
        settled. And of the pretokens the last two are not: "   " gives its last space to a
        word that follows, "'" and "r" become "'re", letters go on. A third from the end has
        seen all that GPT-2's pattern (or GPT-4's) looks at; MARGIN is for less usual patterns.
        """
        limit = len(text) - self._longest + 1
        start = 0
        for match in self._special.finditer(text) if self._special else ():
            if match.start() >= limit:
                break
            yield self._pretoken.findall(text[start : match.start()]), match.group()
            start = match.end()
        limit = max(start, limit)
        pretokens = self._pretoken.findall(text[start:limit])
        end = limit
        unsettled = 0
        while pretokens and (unsettled < 2 or limit - end < MARGIN):
            end -= len(pretokens.pop())
            unsettled += 1
        yield pretokens, None
        return end


def _regex() -> Any:
    try:
        import regex
    except ImportError:
        raise ImportError(
            "byte-level BPE needs the package `regex` (the standard `re` does not know Unicode's "
            "letters and white space): pip install regex"
        ) from None
    return regex
