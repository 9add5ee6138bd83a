import pytest

from tinygrad_llm.errors import DataError, TokenizerError
from tinygrad_llm.tokenizers.text import blocks, check_text, read_blocks

TEXT = "caf\u00e9\r\n\u4e2d\u6587 \U0001f600\n\x85 end"


@pytest.mark.parametrize("size", range(1, 12))
def test_blocks_may_end_inside_a_character(tmp_path, size):
    path = tmp_path / "text"
    path.write_bytes(TEXT.encode())
    assert "".join(read_blocks(path, size)) == TEXT  # line ends as they are


@pytest.mark.parametrize("size", range(1, 12))
@pytest.mark.parametrize("bad", [b"\xff", b"\xc3(", b"\xed\xa0\x80", b"\xe4\xb8"])
def test_the_offset_of_a_bad_byte(tmp_path, size, bad):
    good = TEXT.encode()
    path = tmp_path / "text"
    path.write_bytes(good + bad)
    with pytest.raises(DataError, match=rf"not UTF-8.* 0x{bad[0]:02x} at offset {len(good)}\)"):
        list(read_blocks(path, size))


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(DataError, match=r"nothing: cannot be read \(No such file"):
        list(read_blocks(tmp_path / "nothing"))
    with pytest.raises(DataError, match="cannot be read"):
        list(read_blocks(tmp_path))


def test_long_texts_come_in_pieces():
    assert list(blocks(["abcde", "", "fg"], "here", 2)) == ["ab", "cd", "e", "fg"]


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_the_place_of_a_surrogate(size):
    with pytest.raises(TokenizerError, match=r"^here: character 7 .*U\+DC80"):
        list(blocks(["abcd", "", "efg\udc80"], "here", size))


@pytest.mark.parametrize("bad", [b"ab", bytearray(b"ab"), None, 3])
def test_only_str_is_text(bad):
    with pytest.raises(TypeError, match=f"here: text is {type(bad).__name__}"):
        check_text(bad, "here")
    with pytest.raises(TypeError, match="here"):
        list(blocks(["a", bad], "here"))


def test_bytes_are_no_iterable_of_texts():
    with pytest.raises(TypeError, match="here: bytes"):
        list(blocks(b"ab", "here"))
