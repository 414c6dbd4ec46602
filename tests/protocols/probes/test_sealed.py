"""The test split cannot be read before everything is chosen, and not twice."""

import numpy as np
import pytest

from ssl_bench.protocols.probes.sealed import PeekingError, SealedTest, TestFeatures, TrainingFeatures


def features() -> dict[str, TestFeatures]:
    return {"conv5": TestFeatures(values=np.zeros((2, 3)), labels=np.zeros((2, 1)), classes=("cat",))}


def test_asking_before_selection_is_closed_raises_and_reads_nothing() -> None:
    read: list[int] = []

    def reading() -> dict[str, TestFeatures]:
        read.append(1)
        return features()

    sealed = SealedTest(reading)
    with pytest.raises(PeekingError, match="before selection was closed"):
        sealed.open()
    assert not read
    sealed.close_selection()
    assert list(sealed.open()) == ["conv5"]
    with pytest.raises(PeekingError, match="second time"):
        sealed.open()
    assert len(read) == 1


def test_training_and_test_features_are_different_things() -> None:
    assert not isinstance(features()["conv5"], TrainingFeatures)
