"""`pretrain` with recipes that take no steps: what it leaves, seeds, refusals, and rescaling a run from Python."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import ssl_bench
from ssl_bench.cli import main
from ssl_bench.data.photos import open_photos
from ssl_bench.data.samples import PhotoSamples
from ssl_bench.encoders.contract import weights_hash
from ssl_bench.encoders.files import load_encoder_file, save_encoder
from ssl_bench.engine.loading import training_batches
from ssl_bench.errors import UserError
from ssl_bench.recipes import load_pretrain_recipe
from ssl_bench.stages.initialising import rescale_by_photos
from tests.data.drawn_voc import draw_voc

TINY = ["encoder.width=0.05", "input.size=96", "pretext.batches=3", "schedule.batch_size=4"]
RECIPES = ("kmeans-init-demo", "random-rescaled-demo")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return draw_voc(tmp_path).root / "JPEGImages"


def begin(photos: Path, out: Path, *more: str, recipe: str = RECIPES[0], **options: object):
    options = {"device": "cpu", "workers": 0, **options}
    return ssl_bench.pretrain(recipe, [*TINY, *more], data=photos, out=out, **options)


def first_batches(photos: Path, recipe: str = RECIPES[0]) -> list[torch.Tensor]:
    """The crops of a run with seed 0, as 8-bit pixels, by the reader that every pretraining has."""
    settings = load_pretrain_recipe(recipe, TINY)
    samples = PhotoSamples(open_photos(photos), settings.input)
    batches = training_batches(samples, batch_size=4, steps=3, seed=0, workers=0)
    return [batch["image"] for batch in batches(0)]


@pytest.mark.parametrize("recipe", RECIPES)
def test_it_leaves_an_encoder_that_says_what_it_is(recipe: str, photos: Path, tmp_path: Path) -> None:
    result = begin(photos, tmp_path / "runs", recipe=recipe)
    names = {path.name for path in result.folder.iterdir()}
    assert names >= {"encoder.safetensors", "encoder.json", "recipe.yaml", "environment.json", "done"}
    assert result.card.method == recipe.removesuffix("-demo")
    assert result.card.pretraining is not None
    assert (result.card.pretraining.steps, result.card.pretraining.images_seen) == (0, 12)
    encoder = ssl_bench.load_encoder(result.folder)
    assert weights_hash(encoder) == result.card.sha256
    again = begin(photos, tmp_path / "runs", recipe=recipe)
    assert again == result, "what is done is not done again"


def test_the_weights_follow_from_the_crops_of_the_seed(photos: Path, tmp_path: Path) -> None:
    """Without rescaling every layer is standardised over the very crops that a training would begin with."""
    result = begin(photos, tmp_path / "runs", "pretext.rescale=false", "pretext.beta=0.5")
    encoder = ssl_bench.load_encoder(result.folder)
    images = torch.cat([encoder.preprocessing.normalise(batch) for batch in first_batches(photos)])
    with torch.no_grad():
        first = encoder.conv1(images).double()  # type: ignore[operator]
    torch.testing.assert_close(first.mean((0, 2, 3)), torch.full((4,), 0.5).double(), atol=1e-3, rtol=0)
    torch.testing.assert_close(
        first.transpose(0, 1).flatten(1).std(1, correction=0), torch.ones(4).double(), atol=1e-3, rtol=0
    )


def test_rescaling_ends_with_an_output_of_unit_deviation(photos: Path, tmp_path: Path) -> None:
    result = begin(photos, tmp_path / "runs")
    encoder = ssl_bench.load_encoder(result.folder)
    with torch.no_grad():
        maps = encoder(encoder.preprocessing.normalise(first_batches(photos)[0]))
    spread = float(maps.transpose(0, 1).flatten(1).std(1, correction=0).mean())
    assert spread == pytest.approx(1, rel=0.06)  # 1 % of each of five layers


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_same_seed_gives_the_same_encoder_whatever_the_workers(
    recipe: str, photos: Path, tmp_path: Path
) -> None:
    hashes = [
        begin(photos, tmp_path / f"runs{number}", recipe=recipe, seed=seed, workers=workers).card.sha256
        for number, (seed, workers) in enumerate([(0, 0), (0, 2), (1, 0)])
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_what_happens_is_said(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = sorted(photos.iterdir())[0]
    broken.write_bytes(broken.read_bytes()[:200])
    begin(photos, tmp_path / "runs")
    said = capsys.readouterr().err
    for words in (
        "3 batches of 4",
        f"skipped 1 photos that cannot be read ({broken.name})",
        "5 layers with kmeans weights",
        "gradients relative to weights were a factor of",
        "wrote",
    ):
        assert words in said


def test_photos_of_one_colour_give_a_clear_message(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    for path in photos.iterdir():
        Image.new("RGB", (64, 64), (10, 20, 30)).save(path)
    result = begin(photos, tmp_path / "runs", "pretext.rescale=false")
    assert "outputs that do not vary over the photos: 4 of conv1" in capsys.readouterr().err
    encoder = ssl_bench.load_encoder(result.folder)
    assert all(bool(torch.isfinite(parameter).all()) for parameter in encoder.parameters())


def test_an_encoder_with_batch_normalisation_is_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"norm2 is BatchNorm2d: .* Absorb it"):
        begin(photos, tmp_path / "runs", "encoder.arch=dcgan", "encoder.init=dcgan")


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("schedule.steps=5", "steps is 0 for method random, kmeans-init"),
        ("precision=bf16", "kmeans-init measures in precision fp32"),
        ("pretext.patches=null", "patches belongs to kmeans-init"),
        ("pretext.method=random-rescaled", "patches' is missing"),
        ("pretext.batches=0", "pretext.batches = 0"),
        ("images=none", "method kmeans-init learns from images: unlabelled"),
    ],
)
def test_impossible_settings_are_refused(setting: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        load_pretrain_recipe(RECIPES[0], [setting])


@pytest.mark.parametrize("scale", ["", "-small", "-mini", "-demo"])
def test_the_two_families_differ_in_their_weights_alone(scale: str) -> None:
    kmeans, drawn = (load_pretrain_recipe(f"{name}{scale}") for name in ("kmeans-init", "random-rescaled"))
    assert (kmeans.encoder, kmeans.input, kmeans.schedule) == (drawn.encoder, drawn.input, drawn.schedule)
    changes = {"method": "random-rescaled", "patches": None}
    assert drawn.pretext == kmeans.pretext.model_copy(update=changes)


def test_a_run_is_rescaled_from_python(photos: Path, tmp_path: Path) -> None:
    """The way that pretrain/README.md shows for any encoder."""
    run = begin(photos, tmp_path / "runs", "pretext.rescale=false").folder
    encoder, card = load_encoder_file(run)
    batch = encoder.preprocessing.normalise(first_batches(photos)[0])
    with torch.no_grad():
        before = encoder(batch).flatten()
    report = rescale_by_photos(encoder, photos)
    assert report.balanced
    assert report.rounds > 0
    (tmp_path / "rescaled").mkdir()
    changes = {"name": f"{card.name}-rescaled", "sha256": weights_hash(encoder)}
    save_encoder(tmp_path / "rescaled", encoder, card.model_copy(update=changes))
    again = ssl_bench.load_encoder(tmp_path / "rescaled")
    with torch.no_grad():
        after = again(batch).flatten()
    assert float(torch.corrcoef(torch.stack([before, after]))[0, 1]) > 0.999
    once_more, _ = load_encoder_file(run)
    rescale_by_photos(once_more, photos)
    assert weights_hash(once_more) == weights_hash(encoder)
    rescale_by_photos(once_more, photos, seed=1)
    assert weights_hash(once_more) != weights_hash(encoder)


def test_an_encoder_that_learned_is_rescaled_into_a_folder_of_its_own(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = begin(photos, tmp_path / "runs", recipe="random-rescaled-demo").folder
    before, card = load_encoder_file(run / "encoder.safetensors")
    target = tmp_path / "rescaled"
    words = ["rescale", run.name, str(target), "--data", str(photos), "--runs", str(tmp_path / "runs")]
    assert main(words) == 0
    told = capsys.readouterr()
    assert told.out.strip() == str(target / "encoder.safetensors")
    assert "between layers" in told.err
    after, changed = load_encoder_file(target / "encoder.safetensors")
    assert (changed.method, changed.name) == ("random-rescaled-rescaled", f"{card.name}-rescaled")
    assert changed.pretraining == card.pretraining
    assert changed.sha256 != card.sha256
    images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        one, other = (encoder.eval()(images) for encoder in (before, after))
    ratio = (other / one)[one > one.max() / 100]
    assert float(ratio.std() / ratio.mean()) < 0.02, "the same features, up to one factor"
    assert main(words) == 2
    assert "holds an encoder already" in capsys.readouterr().err
