"""The twenty object classes of PASCAL VOC (2007 to 2012), in the devkit's alphabetical order."""

from __future__ import annotations

VOC_CLASSES: tuple[str, ...] = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip

# Segmentation masks: 0 is background, 1..20 are VOC_CLASSES in order, 255 is void (border, unlabelled).
BACKGROUND = 0
VOID = 255
