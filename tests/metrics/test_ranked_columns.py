"""Average precision of many columns at once is that of each column alone, ties and all."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssl_bench.metrics.average_precision import multilabel_ap
from ssl_bench.metrics.ranked_columns import ap_of_columns


@pytest.mark.parametrize("definition", ["voc-area", "sklearn", "voc-11-point"])
@given(seed=st.integers(0, 2**32 - 1), levels=st.sampled_from([2, 5, 10**6]))
def test_each_column_is_scored_as_alone(definition: str, seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    positive = rng.random(rng.integers(2, 40)) < 0.4
    positive[0] = True
    scores = rng.integers(0, levels, (len(positive), 6)).astype(np.float32)
    labels = np.where(positive, 1, -1)[:, None]
    alone = [multilabel_ap(column[:, None], labels, definition)[0] for column in scores.T]
    np.testing.assert_allclose(ap_of_columns(scores, positive, definition), alone, atol=1e-12)


def test_without_positives_there_is_no_average_precision() -> None:
    assert np.isnan(ap_of_columns(np.ones((4, 3)), np.zeros(4, bool), "voc-area")).tolist() == [True] * 3
