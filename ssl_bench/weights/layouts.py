"""The layouts of checkpoints that are recognised, and how a file's layout is found."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from ssl_bench.weights.contract import Layout
from ssl_bench.weights.convolutional_layouts import CONVOLUTIONAL_LAYOUTS
from ssl_bench.weights.transformer_layouts import TRANSFORMER_LAYOUTS

# Trainers whose files hold networks of any kind: asked last, because others write the same words for more.
GENERAL_LAYOUTS: tuple[Layout, ...] = (
    Layout(
        name="timm",
        title="timm",
        source="huggingface/pytorch-image-models timm/utils/checkpoint_saver.py",
        marks=(r"^state_dict(_ema)?/", r"^arch=", r"^version$|^metric$|^amp_scaler(/|$)|^state_dict_ema/"),
    ),
    Layout(
        name="torchvision-references",
        title="torchvision's training scripts",
        source="pytorch/vision references/classification/train.py",
        marks=(r"^model(_ema)?/", r"^lr_scheduler(/|$)", r"^epoch$"),
    ),
    Layout(
        name="lightning",
        title="Lightning",
        source="Lightning-AI/pytorch-lightning src/lightning/pytorch/trainer/connectors/checkpoint_connector.py",
        marks=(r"^state_dict/", r"^pytorch-lightning_version(=|$)"),
    ),
)
# Layouts of one family before those of any.
LAYOUTS: tuple[Layout, ...] = (*TRANSFORMER_LAYOUTS, *CONVOLUTIONAL_LAYOUTS, *GENERAL_LAYOUTS)
BARE = Layout(name="bare", title="bare tensors", source="", marks=())
WRAPPED = Layout(
    name="wrapped", title="tensors in a wrapper that names no known repository", source="", marks=()
)

# What files of a layout do not say, and a user should know.
STRIDE_NOTE = (
    "the file does not say in which convolution of a bottleneck the stride is: networks of MSRA have it in the first, "
    "1 x 1 (detectron2's default STRIDE_IN_1X1), the network here in the 3 x 3 after it"
)
LAYOUT_NOTES: Mapping[str, str] = {
    "detectron2": STRIDE_NOTE,
    "detectron": STRIDE_NOTE,
    "caffe": "the file does not say whether normalisation comes before or after pooling: after it is assumed, as in "
    "CaffeNet; BVLC's AlexNet has it before (norm=before-pooling)",
}


def layout_of(
    paths: Sequence[str], family: str, *, wrapped: bool, layouts: Iterable[Layout] = LAYOUTS
) -> Layout:
    """Name the layout of a file by its marks.

    Args:
        paths: Full key paths, and the made-up ones (see `convolutional_layouts`).
        family: The encoder's family.
        wrapped: Whether the encoder's tensors lie deeper than the file's top, or under a prefix.
    """
    text = "\n".join(paths)
    for layout in layouts:
        if layout.families and family not in layout.families:
            continue
        if all(re.search(mark, text, re.MULTILINE) for mark in layout.marks):
            return layout
    return WRAPPED if wrapped else BARE
