"""Checkpoints of convolutional networks as public repositories write them, by their real key names.

A `state` is an encoder's `state_dict()` by our names; each function returns a content as it is read from such a file.
Heads are fabricated, with the names of the real ones and few values. The names were checked against the code of the
repositories that the layouts in ssl_bench name as their source; Detectron's blobs against the rules by which detectron2
renames them, and pytorch_resnet_cifar10's against a real file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ssl_bench.encoders.contract import Encoder
from ssl_bench.encoders.registry import build_encoder

State = Mapping[str, Tensor]
Content = dict[str, Any]


def drawn(architecture: Mapping[str, Any], seed: int = 0) -> Encoder:
    """Build a network and draw every tensor of it, running statistics too, so that no two are alike."""
    encoder = build_encoder(architecture)
    generator = torch.Generator().manual_seed(seed)
    for tensor in encoder.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.1)
        else:
            tensor.fill_(int(torch.randint(1, 100, (1,), generator=generator)))
    return encoder


def another(state: State) -> dict[str, Tensor]:
    """Make a second network of the same names and other values, such as a momentum copy."""
    return {name: tensor * 2 for name, tensor in state.items()}


def prefixed(prefix: str, state: State) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def without_counters(state: State) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}


def linear(prefix: str, outputs: int = 5, inputs: int = 4) -> dict[str, Tensor]:
    """Make a fully-connected layer."""
    return {f"{prefix}.weight": torch.ones(outputs, inputs), f"{prefix}.bias": torch.zeros(outputs)}


def norm(prefix: str, size: int = 4, *, affine: bool = True) -> dict[str, Tensor]:
    """Make a batch normalisation."""
    weights = {f"{prefix}.weight": torch.ones(size), f"{prefix}.bias": torch.zeros(size)} if affine else {}
    return weights | {
        f"{prefix}.running_mean": torch.zeros(size),
        f"{prefix}.running_var": torch.ones(size),
        f"{prefix}.num_batches_tracked": torch.tensor(3),
    }


def mlp(prefix: str) -> dict[str, Tensor]:
    """Make a projector of two layers in an nn.Sequential, normalised in between."""
    return linear(f"{prefix}.0") | norm(f"{prefix}.1") | linear(f"{prefix}.3")


def optimiser(state: State) -> Content:
    """Make SGD's state with a momentum for each tensor."""
    momenta = {place: {"momentum_buffer": torch.zeros_like(one)} for place, one in enumerate(state.values())}
    return {"state": momenta, "param_groups": [{"lr": 0.1, "params": list(momenta)}]}


def torchvision(state: State) -> Content:
    return {**state, **linear("fc")}


def timm(state: State) -> Content:
    return {
        "epoch": 3,
        "arch": "resnet18",
        "state_dict": another(state) | linear("fc"),
        "optimizer": optimiser(state),
        "version": 2,
        "state_dict_ema": {**state, **linear("fc")},
        "metric": 70.1,
    }


def torchvision_reference(state: State) -> Content:
    averaged = {"n_averaged": torch.tensor(7), **prefixed("module.", {**state, **linear("fc")})}
    return {
        "model": another(state) | linear("fc"),
        "model_ema": averaged,
        "optimizer": optimiser(state),
        "lr_scheduler": {"last_epoch": 3},
        "epoch": 3,
    }


def compiled(state: State) -> Content:
    encoder = prefixed("_orig_mod.module.encoder.", state)
    return {"model": encoder | prefixed("_orig_mod.module.", linear("head"))}


def moco(state: State, *heads: str) -> Content:
    """Make MoCo's file with fully-connected layers of these names behind both encoders."""
    tensors = {"module.queue": torch.zeros(4, 8), "module.queue_ptr": torch.zeros(1, dtype=torch.long)}
    for prefix, encoder in (("module.encoder_q.", state), ("module.encoder_k.", another(state))):
        tensors |= prefixed(prefix, encoder)
        for head in heads:
            tensors |= linear(f"{prefix}{head}")
    return {"epoch": 200, "arch": "resnet50", "state_dict": tensors, "optimizer": optimiser(state)}


def moco_v1(state: State) -> Content:
    return moco(state, "fc")


def moco_v2(state: State) -> Content:
    return moco(state, "fc.0", "fc.2")


def moco_v3(state: State) -> Content:
    base = prefixed("module.base_encoder.", {**state, **mlp("fc")})
    momentum = prefixed("module.momentum_encoder.", another(state) | mlp("fc"))
    predictor = prefixed("module.", mlp("predictor"))
    tensors = base | momentum | predictor
    return {"epoch": 100, "arch": "resnet50", "state_dict": tensors, "scaler": {"scale": 65536.0}}


def simclr(state: State) -> Content:
    backbone = prefixed("backbone.", {**state, **linear("fc.0"), **linear("fc.2")})
    return {"epoch": 200, "arch": "resnet18", "state_dict": backbone, "optimizer": optimiser(state)}


def byol_pytorch(state: State) -> Content:
    net = {**state, **linear("fc")}
    online = prefixed("online_encoder.", prefixed("net.", net) | mlp("projector.net"))
    target = prefixed("target_encoder.", prefixed("net.", another(state)) | mlp("projector.net"))
    return {**prefixed("net.", net), **online, **target, **mlp("online_predictor.net")}


def swav(state: State) -> Content:
    return prefixed("module.", {**state, **mlp("projection_head"), "prototypes.weight": torch.ones(6, 4)})


def dino(state: State) -> Content:
    head = linear("module.head.mlp.0") | linear("module.head.mlp.2")
    head |= {f"module.head.last_layer.weight_{which}": torch.ones(6, 4) for which in "gv"}
    return {
        "student": prefixed("module.backbone.", another(state)) | head,
        "teacher": prefixed("module.backbone.", state) | head,
        "optimizer": optimiser(state),
        "epoch": 100,
        "dino_loss": {"center": torch.zeros(1, 6)},
    }


def barlow_twins(state: State) -> Content:
    model = prefixed("module.backbone.", state) | mlp("module.projector") | norm("module.bn", affine=False)
    return {"epoch": 1000, "model": model, "optimizer": optimiser(state)}


def vicreg(state: State) -> Content:
    model = prefixed("module.backbone.", state) | mlp("module.projector")
    return {"epoch": 1000, "model": model, "optimizer": optimiser(state)}


def vissl(state: State) -> Content:
    model = {"trunk": prefixed("_feature_blocks.", state), "heads": linear("0.clf.0")}
    return {
        "phase_idx": 5,
        "iteration": 9,
        "classy_state_dict": {"base_model": {"model": model}, "optim": {}},
    }


def solo_learn(state: State) -> Content:
    tensors = prefixed("backbone.", state) | prefixed("momentum_backbone.", another(state))
    tensors |= linear("classifier") | mlp("projector") | mlp("momentum_projector") | mlp("predictor")
    return {"epoch": 399, **lightning(state, "1.7.7"), "state_dict": tensors}


def lightning(state: State, version: str) -> Content:
    """Make what Lightning writes beside the tensors."""
    return {"pytorch-lightning_version": version, "loops": {}, "optimizer_states": [optimiser(state)]}


def sequential_name(name: str) -> str:
    """Name a tensor as an nn.Sequential of torchvision's children does: layer1.0.bn1.bias is 4.0.bn1.bias."""
    name = re.sub(r"^conv1\.", "0.", re.sub(r"^bn1\.", "1.", name))
    return re.sub(r"^layer(\d)\.", lambda match: f"{int(match[1]) + 3}.", name)


def lightly(state: State) -> Content:
    backbone = {sequential_name(name): tensor for name, tensor in state.items()}
    tensors = prefixed("backbone.", backbone) | prefixed("backbone_momentum.", another(backbone))
    tensors |= mlp("projection_head.layers") | mlp("prediction_head.layers")
    return {"epoch": 9, **lightning(state, "2.1.0"), "state_dict": tensors}


def lightly_train(state: State) -> Content:
    teacher = prefixed("teacher_embedding_model.model_wrapper._features.", state)
    student = prefixed("student_embedding_model.model_wrapper._features.", another(state))
    return {
        "epoch": 9,
        **lightning(state, "2.5.0"),
        "state_dict": {**teacher, **student, **linear("teacher_projection_head.layers.0")},
        "lightly_train": {"normalize_args": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.1]}},
    }


def mmselfsup(state: State) -> Content:
    tensors = prefixed("backbone.", state) | prefixed("target_net.module.0.", another(state))
    tensors |= mlp("neck") | mlp("head.predictor")
    return {"meta": {"epoch": 200}, "state_dict": tensors, "message_hub": {"runtime_info": {}}}


def detectron2_name(name: str) -> str:
    """Name a tensor as detectron2 does."""
    name = name if name.startswith("layer") else f"stem.{name}"
    name = re.sub(
        r"layer(\d)", lambda match: f"res{int(match[1]) + 1}", re.sub(r"bn(\d)", r"conv\1.norm", name)
    )
    return name.replace("downsample.0", "shortcut").replace("downsample.1", "shortcut.norm")


def detectron2(state: State) -> Content:
    """Make a detector as it is trained: frozen normalisation without counters, a pyramid and heads beside it."""
    tensors = {detectron2_name(name): tensor for name, tensor in without_counters(state).items()}
    heads = linear("proposal_generator.rpn_head.conv") | linear("roi_heads.box_head.fc1")
    lateral = linear("backbone.fpn_lateral2")
    return {"model": prefixed("backbone.bottom_up.", tensors) | lateral | heads, "iteration": 9}


def detectron2_converted(state: State) -> Content:
    """Make what tools/convert-torchvision-to-d2.py does, which renames the classifier too."""
    model = {detectron2_name(name): tensor for name, tensor in {**state, **linear("fc")}.items()}
    return {"model": model, "__author__": "torchvision", "matching_heuristics": True}


def _kind(parts: list[str], convolution: str, normalisation: str) -> str:
    """Tell whether a tensor by our name, split at the dots, belongs to a convolution or a normalisation."""
    return convolution if parts[-2].startswith("conv") or parts[-2] == "0" else normalisation


def detectron(state: State) -> Content:
    """Make Caffe2's blobs of a network of bottlenecks, as in Detectron's R-50.pkl."""
    ends = {"weight": "gamma", "bias": "beta", "running_mean": "running_mean", "running_var": "running_var"}
    content: Content = {"fc1000_w": torch.ones(5, 4), "fc1000_b": torch.zeros(5)}
    for name, tensor in without_counters(state).items():
        parts = name.split(".")
        kind = _kind(parts, "w", f"bn_{ends[parts[-1]]}")
        if name.startswith("layer"):
            branch = "1" if parts[2] == "downsample" else "2" + "abc"[int(parts[2][-1]) - 1]
            content[f"res{int(parts[0][-1]) + 1}_{parts[1]}_branch{branch}_{kind}"] = tensor
        else:
            content["conv1_w" if kind == "w" else f"res_conv1_{kind}"] = tensor
    return content


def transformers(state: State) -> Content:
    """Make a ResNet of Hugging Face's transformers."""
    content: Content = linear("classifier.1")
    for name, tensor in state.items():
        parts = name.split(".")
        place = "embedder.embedder"
        if name.startswith("layer"):
            inner = "shortcut" if parts[2] == "downsample" else f"layer.{int(parts[2][-1]) - 1}"
            place = f"encoder.stages.{int(parts[0][-1]) - 1}.layers.{parts[1]}.{inner}"
        content[f"resnet.{place}.{_kind(parts, 'convolution', 'normalization')}.{parts[-1]}"] = tensor
    return content


def cifar(state: State) -> Content:
    """Make a file of pytorch_resnet_cifar10, which is older than the counters."""
    return {"state_dict": prefixed("module.", without_counters(state) | linear("linear")), "best_prec1": 91.7}


def caffe(state: State) -> Content:
    """Make a caffemodel's blobs, as they are read: biases of old files have four axes."""
    old = {
        name: tensor.reshape(1, 1, 1, -1) if tensor.ndim == 1 else tensor for name, tensor in state.items()
    }
    return {**old, **linear("fc6"), **linear("fc7"), **linear("fc8")}


def vissl_alexnet(state: State) -> Content:
    places = {"conv1": 0, "conv2": 2, "conv3": 4, "conv4": 5, "conv5": 6}
    return vissl({f"{places[name[:5]]}.0{name[5:]}": tensor for name, tensor in state.items()})


def torchvision_plain(state: State) -> Content:
    return {**state, **linear("classifier.1"), **linear("classifier.4")}


# Each layout with the architecture that its files are tested with, and the name that it is recognised by.
RESNET: Mapping[str, Any] = {"name": "resnet18", "width": 0.125}
BOTTLENECKS: Mapping[str, Any] = {"name": "resnet50", "width": 0.0625}
CAFFENET: Mapping[str, Any] = {"name": "caffenet", "width": 0.125}
CONVOLUTIONAL: tuple[tuple[Callable[[State], Content], Mapping[str, Any], str], ...] = (
    (torchvision, RESNET, "bare"),
    (timm, RESNET, "timm"),
    (torchvision_reference, RESNET, "torchvision-references"),
    (compiled, RESNET, "wrapped"),
    (moco_v1, RESNET, "moco-v1"),
    (moco_v2, BOTTLENECKS, "moco-v2"),
    (moco_v3, BOTTLENECKS, "moco-v3"),
    (simclr, RESNET, "simclr"),
    (byol_pytorch, RESNET, "byol"),
    (swav, BOTTLENECKS, "swav"),
    (dino, BOTTLENECKS, "dino"),
    (barlow_twins, BOTTLENECKS, "barlow-twins"),
    (vicreg, BOTTLENECKS, "vicreg"),
    (vissl, BOTTLENECKS, "vissl"),
    (solo_learn, RESNET, "solo-learn"),
    (lightly, RESNET, "lightly"),
    (lightly_train, RESNET, "lightly-train"),
    (mmselfsup, BOTTLENECKS, "openmmlab"),
    (detectron2, BOTTLENECKS, "detectron2"),
    (detectron2_converted, BOTTLENECKS, "detectron2-rgb"),
    (detectron, BOTTLENECKS, "detectron"),
    (transformers, BOTTLENECKS, "wrapped"),
    (cifar, {"name": "resnet20-cifar"}, "cifar-resnet"),
    (caffe, CAFFENET, "caffe"),
    (vissl_alexnet, {**CAFFENET, "norm": "before-pooling"}, "vissl"),
    (torchvision_plain, {"name": "squeezenet", "width": 0.25}, "bare"),
)
