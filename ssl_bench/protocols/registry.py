"""The ways of judging, by the kind that a protocol's settings name."""

from __future__ import annotations

from ssl_bench.protocols.classification import ClassificationJudge
from ssl_bench.protocols.contract import Judge
from ssl_bench.protocols.detection import DetectionJudge
from ssl_bench.protocols.dilated_segmentation import DilatedFcn
from ssl_bench.protocols.linear_heads import LinearHeadsJudge
from ssl_bench.protocols.linear_segmentation import LinearSegmenter
from ssl_bench.protocols.region_detection import RegionDetectionJudge
from ssl_bench.protocols.segmentation import Fcn32, SegmentationJudge, SegmentationSamples
from ssl_bench.protocols.segmentation_samples import DilatedSegmentationSamples

JUDGES: dict[str, Judge] = {
    "classification": ClassificationJudge(),
    "detection": DetectionJudge(),
    "region-detection": RegionDetectionJudge(),
    "segmentation": SegmentationJudge(Fcn32, SegmentationSamples),
    "dilated-segmentation": SegmentationJudge(DilatedFcn, DilatedSegmentationSamples),
    "linear-heads": LinearHeadsJudge(),
    "linear-segmentation": SegmentationJudge(LinearSegmenter, SegmentationSamples),
}
