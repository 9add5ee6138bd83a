"""sort, argsort, topk: equal values keep their order in both directions."""

import numpy as np
import pytest

import tinygrad_llm as tg


@pytest.mark.parametrize("descending", [False, True])
def test_equal_values_keep_their_order(descending):
    x = tg.tensor([[2, 1, 2, 1, 2], [0, 0, 3, 3, 0]])
    order = x.argsort(1, descending).tolist()
    if descending:
        assert order == [[0, 2, 4, 1, 3], [2, 3, 0, 1, 4]]
    else:
        assert order == [[1, 3, 0, 2, 4], [0, 1, 4, 2, 3]]


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("k", [0, 1, 3, 11, 12, 13, 100])
def test_topk_is_the_start_of_a_sort(k, largest):
    x = tg.tensor(np.random.default_rng(0).permutation(700).reshape(7, 100) * 0.5)
    values, indices = x.topk(k, dim=1, largest=largest)
    expected = x.sort(1, descending=largest)
    np.testing.assert_array_equal(values.array, expected.values.array[:, :k])
    np.testing.assert_array_equal(indices.array, expected.indices.array[:, :k])


def test_errors():
    with pytest.raises(ValueError, match=r"topk: k=4 is out of range for dim -1 of shape \(2, 3\)"):
        tg.ones(2, 3).topk(4)
    with pytest.raises(IndexError, match=r"argmax: shape \(0,\) has no element to choose"):
        tg.zeros(0).argmax()
    with pytest.raises(IndexError, match=r"sort|argsort: dim=2 is out of range for shape \(2, 3\)"):
        tg.ones(2, 3).sort(2)
