"""Checkpoints of self-supervised methods for convolutional networks, as the public repositories write them.

`marks` are matched against full key paths, among them two that are made up: "format:caffe", for the format of the file,
and "path=value" for a short word that is stored, e.g. "__author__=torchvision". The order matters: the first layout
whose marks are all there is the one.
"""

from __future__ import annotations

from ssl_bench.encoders.contract import Preprocessing
from ssl_bench.encoders.resnet import MEAN_RGB, STD_RGB
from ssl_bench.weights.contract import Layout

RESNET = ("resnet", "cifar-resnet")
IMAGENET = Preprocessing(
    size=224, interpolation="bilinear", mean=MEAN_RGB, std=STD_RGB, channels="RGB", value_range=1
)
SMALL_PICTURES = IMAGENET.model_copy(update={"size": 32})
UNNORMALISED = Preprocessing(
    size=96, interpolation="bilinear", mean=(0, 0, 0), std=(1, 1, 1), channels="RGB", value_range=1
)
# detectron2's defaults, config/defaults.py: PIXEL_MEAN in BGR, PIXEL_STD 1, since MSRA's ResNets learned so.
MSRA = Preprocessing(
    size=224,
    interpolation="bilinear",
    mean=(103.53, 116.28, 123.675),
    std=(1, 1, 1),
    channels="BGR",
    value_range=255,
)
# The mean pixel of Caffe's reference networks, in BGR; crops of 227 pixels.
CAFFE = Preprocessing(
    size=227, interpolation="bilinear", mean=(104, 117, 123), std=(1, 1, 1), channels="BGR", value_range=255
)

CONVOLUTIONAL_LAYOUTS: tuple[Layout, ...] = (
    Layout(
        name="moco-v2",
        title="MoCo v2",
        source="facebookresearch/moco main_moco.py",
        marks=(r"(^|/)module\.encoder_q\.fc\.0\.weight$", r"(^|/)module\.encoder_q\.conv1\."),
        families=RESNET,
        preprocessing=IMAGENET,
        others={r"module\.encoder_q\.fc\.": "projection head"},
    ),
    Layout(
        name="moco-v1",
        title="MoCo v1",
        source="facebookresearch/moco main_moco.py",
        marks=(r"(^|/)module\.encoder_q\.conv1\.",),
        families=RESNET,
        preprocessing=IMAGENET,
        others={r"module\.encoder_q\.fc\.": "projection head"},
    ),
    Layout(
        name="moco-v3",
        title="MoCo v3",
        source="facebookresearch/moco-v3 main_moco.py",
        marks=(r"(^|/)module\.base_encoder\.conv1\.",),
        families=RESNET,
        preprocessing=IMAGENET,
        others={r"module\.base_encoder\.fc\.": "projection head"},
    ),
    Layout(
        name="swav",
        title="SwAV",
        source="facebookresearch/swav main_swav.py",
        marks=(
            r"(^|/)(module\.)?projection_head\.",
            r"(^|/)(module\.)?prototypes\.",
            r"(^|/)(module\.)?conv1\.weight$",
        ),
        families=RESNET,
        preprocessing=IMAGENET,
    ),
    Layout(
        name="dino",
        title="DINO",
        source="facebookresearch/dino main_dino.py",
        marks=(r"^teacher/(module\.)?backbone\.", r"^student/", r"head\.last_layer\."),
        families=RESNET,
        preprocessing=IMAGENET,
        others={r"^(teacher|student)/(module\.)?head\.": "projection head"},
    ),
    Layout(
        name="barlow-twins",
        title="Barlow Twins",
        source="facebookresearch/barlowtwins main.py",
        marks=(
            r"^model/module\.backbone\.",
            r"^model/module\.projector\.",
            r"^model/module\.bn\.running_mean$",
        ),
        families=RESNET,
        preprocessing=IMAGENET,
        others={r"^model/module\.bn\.": "projection head"},
    ),
    Layout(
        name="vicreg",
        title="VICReg",
        source="facebookresearch/vicreg main_vicreg.py",
        marks=(r"^model/module\.backbone\.", r"^model/module\.projector\."),
        families=RESNET,
        preprocessing=IMAGENET,
    ),
    Layout(
        name="byol",
        title="BYOL (byol-pytorch)",
        source="lucidrains/byol-pytorch byol_pytorch/byol_pytorch.py",
        marks=(r"(^|/)online_encoder\.net\.", r"(^|/)target_encoder\.net\."),
        families=RESNET,
        preprocessing=IMAGENET,
    ),
    Layout(
        name="simclr",
        title="SimCLR (sthalles/SimCLR)",
        source="sthalles/SimCLR simclr.py",
        marks=(r"^state_dict/backbone\.conv1\.weight$", r"^state_dict/backbone\.fc\.2\.weight$"),
        families=RESNET,
        preprocessing=UNNORMALISED,
        others={r"^state_dict/backbone\.fc\.": "projection head"},
    ),
    Layout(
        name="vissl",
        title="VISSL",
        source="facebookresearch/vissl vissl/models/base_ssl_model.py",
        marks=(r"(^|[/.])_feature_blocks\.",),
        preprocessing=IMAGENET,
        others={r"/heads/|(^|/)heads\.": "projection head"},
    ),
    Layout(
        name="lightly-train",
        title="lightly-train",
        source="lightly-ai/lightly-train src/lightly_train/_checkpoint.py",
        marks=(r"(^|[/.])(\w+_)?embedding_model\.(wrapped_model|model_wrapper)\.",),
        preprocessing=IMAGENET,
    ),
    Layout(
        name="lightly",
        title="lightly",
        source="lightly-ai/lightly examples/pytorch_lightning",
        marks=(r"(^|/)(\w+_)?backbone\.0\.weight$", r"(^|/)(\w+_)?backbone\.4\.0\.conv1\.weight$"),
        families=RESNET,
    ),
    Layout(
        name="openmmlab",
        title="mmselfsup or mmpretrain",
        source="open-mmlab/mmselfsup mmselfsup/models/algorithms",
        marks=(r"^meta(/|$)|^author=MMSelfSup$", r"^state_dict/"),
        preprocessing=IMAGENET,
    ),
    Layout(
        name="solo-learn",
        title="solo-learn",
        source="vturrisi/solo-learn solo/methods/base.py",
        marks=(
            r"^state_dict/backbone\.",
            r"^state_dict/(classifier\.weight|momentum_backbone\.|projector\.)",
            r"^(hyper_parameters|pytorch-lightning_version|loops)(/|$)|^state_dict/(momentum_)?classifier\.weight$",
        ),
    ),
    Layout(
        name="detectron2-rgb",
        title="detectron2, converted from a network for RGB",
        source="facebookresearch/detectron2 tools/convert-torchvision-to-d2.py",
        marks=(r"(^|[/.])stem\.conv1\.weight$", r"^__author__=(torchvision|MOCO|VISSL|.*[Mm]o[Cc]o.*)$"),
        families=("resnet",),
        preprocessing=IMAGENET,
    ),
    Layout(
        name="detectron2-converted",
        title="detectron2, converted",
        source="facebookresearch/detectron2 tools/convert-torchvision-to-d2.py",
        marks=(r"(^|[/.])stem\.conv1\.weight$", r"^__author__=(?!Detectron2|detectron2|Caffe2|MSRA)"),
        families=("resnet",),
    ),
    Layout(
        name="detectron2",
        title="detectron2",
        source="facebookresearch/detectron2 detectron2/modeling/backbone/resnet.py",
        marks=(r"(^|[/.])stem\.conv1\.weight$", r"(^|[/.])stem\.conv1\.norm\."),
        families=("resnet",),
        preprocessing=MSRA,
    ),
    Layout(
        name="detectron",
        title="Caffe2 blobs, as in Detectron's ImageNet models",
        source="facebookresearch/detectron2 detectron2/checkpoint/c2_model_loading.py",
        marks=(r"(^|/)res_conv1_bn_", r"(^|/)res2_0_branch2a_w$"),
        families=("resnet",),
        preprocessing=MSRA,
    ),
    Layout(
        name="caffe",
        title="Caffe",
        source="BVLC/caffe src/caffe/proto/caffe.proto",
        marks=(r"^format:caffe$",),
        preprocessing=CAFFE,
    ),
    Layout(
        name="cifar-resnet",
        title="ResNet for CIFAR-10 (pytorch_resnet_cifar10)",
        source="akamaster/pytorch_resnet_cifar10 trainer.py",
        marks=(r"^state_dict/module\.linear\.weight$", r"^state_dict/module\.layer3\."),
        families=("cifar-resnet",),
        preprocessing=SMALL_PICTURES,
    ),
)
