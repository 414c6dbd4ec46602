import pytest

from ssl_bench.encoders.contract import Preprocessing
from ssl_bench.errors import UserError
from ssl_bench.weights.addresses import declared_preprocessing, parse_address, parse_architecture

IMAGENET = Preprocessing(
    size=224,
    interpolation="bilinear",
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    channels="RGB",
    value_range=1,
)


@pytest.mark.parametrize(
    ("given", "kind", "name", "options"),
    [
        ("runs/mine", "path", "runs/mine", {}),
        (
            "moco.pth.tar?as=resnet50&part=momentum",
            "path",
            "moco.pth.tar",
            {"as": "resnet50", "part": "momentum"},
        ),
        ("timm:resnet18", "timm", "resnet18", {}),
        ("timm:resnet50.a1_in1k?pretrained", "timm", "resnet50.a1_in1k", {"pretrained": "true"}),
        (
            "torchvision:alexnet?pretrained&size=227",
            "torchvision",
            "alexnet",
            {"pretrained": "true", "size": "227"},
        ),
        ("hf-hub:org/name", "hf-hub", "org/name", {}),
        ("nets/mine.py:make", "factory", "nets/mine.py:make", {}),
        ("random:resnet50:width=0.25", "random", "resnet50:width=0.25", {}),
    ],
)
def test_every_form_is_taken_apart(given: str, kind: str, name: str, options: dict[str, str]) -> None:
    address = parse_address(given)

    assert (address.kind, address.name, dict(address.options)) == (kind, name, options)


def test_a_file_with_a_question_mark_in_its_name_is_that_file(tmp_path) -> None:
    path = tmp_path / "what?.pth"
    path.write_bytes(b"")

    assert parse_address(str(path)).name == str(path)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("x.pth?arch=resnet50", "unknown option"),
        ("timm:?pretrained", "name is missing"),
        ("timm:resnet18?as=resnet50", "unknown option"),
    ],
)
def test_what_cannot_be_meant_is_refused(given: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        parse_address(given)


def test_architectures_are_read_with_their_settings() -> None:
    assert parse_architecture("resnet18:width=0.5") == {"name": "resnet18", "width": 0.5}
    assert parse_architecture("caffenet:grouped=false") == {"name": "caffenet", "grouped": False}
    assert parse_architecture("timm:vit_small_patch16_224:img_size=128") == {
        "name": "timm:vit_small_patch16_224",
        "img_size": 128,
    }
    with pytest.raises(UserError, match="setting=value"):
        parse_architecture("resnet18:half")


def test_another_order_of_channels_keeps_each_colour_its_mean() -> None:
    changed = declared_preprocessing(IMAGENET, {"channels": "BGR"})

    assert changed.mean == (0.406, 0.456, 0.485)
    assert changed.std == (0.225, 0.224, 0.229)


def test_another_range_scales_mean_and_std() -> None:
    changed = declared_preprocessing(IMAGENET, {"range": "255"})

    assert changed.value_range == 255
    assert changed.mean == pytest.approx((123.675, 116.28, 103.53))
    assert changed.std == pytest.approx((58.395, 57.12, 57.375))


def test_given_means_are_in_the_new_order_and_range() -> None:
    changed = declared_preprocessing(
        IMAGENET, {"channels": "BGR", "range": "255", "mean": "104,117,123", "std": "1", "size": "227"}
    )

    assert (changed.mean, changed.std, changed.size) == ((104, 117, 123), (1, 1, 1), 227)


@pytest.mark.parametrize(
    "options",
    [
        {"channels": "RBG"},
        {"range": "2"},
        {"std": "0"},
        {"mean": "a,b,c"},
        {"mean": "1,2"},
        {"size": "large"},
    ],
)
def test_an_input_that_does_not_exist_is_refused(options: dict[str, str]) -> None:
    with pytest.raises(UserError, match="the encoder's input"):
        declared_preprocessing(IMAGENET, options)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("x.pth?size=64&size=96", "size is given twice"),
        ("x.pth?as=", "as has no value"),
        ("x.pth?part", "part has no value"),
        ("", "names nothing"),
        ("nets/mine.py", "FILE.py:FUNCTION"),
        ("nets/mine.py:", "FILE.py:FUNCTION"),
        ("nets/mine.py:not-a-name", "FILE.py:FUNCTION"),
        ("nets/mine.py:make?part=teacher", "part belongs to a checkpoint"),
    ],
)
def test_what_is_half_said_is_refused(given: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        parse_address(given)


def test_a_name_longer_than_a_files_can_be_is_just_a_name() -> None:
    assert parse_address("a" * 300).name == "a" * 300


def test_a_setting_that_cannot_be_read_is_a_users_mistake() -> None:
    with pytest.raises(UserError, match="cannot read the value of 'width=\\['"):
        parse_architecture("resnet18:width=[")


@pytest.mark.parametrize("options", [{"range": "nan"}, {"range": "inf"}, {"mean": "nan"}, {"std": "1,inf,1"}])
def test_an_input_of_no_finite_numbers_is_refused(options: dict[str, str]) -> None:
    with pytest.raises(UserError, match="not a finite number"):
        declared_preprocessing(IMAGENET, options)


def test_a_range_is_not_rounded_to_one_that_exists() -> None:
    with pytest.raises(UserError, match="range"):
        declared_preprocessing(IMAGENET, {"range": "255.9"})


@pytest.mark.parametrize("given", ["factory", "nets/mine.py:make"])
def test_code_of_ones_own_is_no_architecture_of_a_checkpoint(given: str) -> None:
    with pytest.raises(UserError, match=r"FILE\.py:FUNCTION\?weights=FILE"):
        parse_architecture(given)
