import math
import pickle

import numpy as np
import pytest
import torch

from tests.tiny import config, noise_splits
from trainables.data import Split, datasets
from trainables.data.batches import Batches, Draws, crop_and_flip, normalisation
from trainables.data.cifar10 import CIFAR10
from trainables.data.digits import Digits
from trainables.errors import Refused
from trainables.train import Trial


def key(split: Split) -> set[bytes]:
    return {image.tobytes() for image in split.images}


def test_chance_is_what_one_answer_to_all_images_exceeds_in_one_split_of_forty_at_most():
    draw = np.random.default_rng(0)
    images = np.zeros((200, 32, 32, 3), np.uint8)
    labels = np.repeat(np.arange(10), [65, *[15] * 9])
    batches = Batches(Split(images, labels), torch.zeros(3), torch.ones(3), torch.device("cpu"))
    assert batches.chance() == pytest.approx(0.325 + 2 * math.sqrt(0.325 * 0.675 / 200))
    assert (draw.binomial(200, 0.325, 100_000) / 200 > batches.chance()).mean() <= 0.025


def test_digits_are_32_by_32_bytes_in_three_equal_channels():
    splits = Digits().splits()
    assert splits.classes == 10
    assert len(splits.train) + len(splits.validation) + len(splits.test) == 1797
    assert splits.train.images.shape[1:] == (3, 32, 32)
    assert splits.train.images.dtype == np.uint8
    assert splits.train.images.max() == 255
    assert (splits.train.images[:, 0] == splits.train.images[:, 2]).all()


def test_splits_are_disjoint_sized_and_stratified():
    splits = Digits(train_size=400, test_size=100, validation=0.25).splits()
    assert [len(s) for s in (splits.train, splits.validation, splits.test)] == [300, 100, 100]
    assert not key(splits.train) & key(splits.test)
    assert not key(splits.train) & key(splits.validation)
    for part in (splits.train, splits.validation, splits.test):
        counts = np.bincount(part.labels, minlength=10)
        assert counts.max() - counts.min() <= max(2, len(part) // 50)


def test_splits_depend_on_the_split_seed_alone():
    first, again, other = (Digits(train_size=300, split_seed=seed).splits() for seed in (3, 3, 4))
    assert (first.train.images == again.train.images).all()
    assert key(first.train) != key(other.train)
    assert key(first.test) != key(other.test)


def test_no_validation_leaves_every_image_to_training():
    splits = Digits(validation=0).splits()
    assert (len(splits.train), len(splits.validation)) == (1437, 0)


@pytest.mark.parametrize(("field", "size"), [("train_size", 2000), ("test_size", 361), ("train_size", 5)])
def test_more_or_fewer_images_than_there_are_is_refused(field, size):
    with pytest.raises(Refused, match=rf"data/{field} = {size}: digits has \d+ images"):
        Digits(**{field: size}).splits()


def test_a_validation_split_smaller_than_the_classes_is_refused():
    with pytest.raises(Refused, match=r"data/validation = 0\.005: leaves 7 images for 10 classes; use 0, or at least"):
        Digits(validation=0.005).splits()


def test_a_subset_that_leaves_too_few_to_stratify_still_works():
    assert len(Digits(train_size=1436, validation=0).splits().train) == 1436


def write_cifar(folder, damage: bool = False):
    base = folder / "cifar-10-batches-py"
    base.mkdir(parents=True)
    (base / "data_batch_1").write_bytes(pickle.dumps({"data": [], "labels": []}) if damage else b"")


@pytest.mark.parametrize("damage", [True, False, None])
def test_missing_or_damaged_cifar_names_the_folder_and_the_remedy(tmp_path, monkeypatch, damage):
    monkeypatch.setenv("STUDY_DATA", str(tmp_path))
    if damage is not None:
        write_cifar(tmp_path, damage)
    with pytest.raises(
        Refused, match=r"data/name = 'cifar10'.*official checksums; run `study data cifar10`.*STUDY_DATA"
    ):
        CIFAR10().splits()


def test_crop_and_flip_shifts_within_a_zero_border_and_mirrors():
    images = torch.arange(1, 3 * 32 * 32 + 1, dtype=torch.int32).view(1, 3, 32, 32).repeat(3, 1, 1, 1)
    draws = Draws(torch.tensor([[4, 4], [0, 4], [4, 8]]), torch.tensor([False, False, True]))
    still, down, left = crop_and_flip(images, draws)
    assert (still == images[0]).all()
    assert (down[:, :4] == 0).all()
    assert (down[:, 4:] == images[0][:, :-4]).all()
    assert (left.flip(-1)[:, :, :-4] == images[0][:, :, 4:]).all()
    assert (left[:, :, :4] == 0).all()


def test_augmentation_covers_every_offset_and_both_sides():
    draws = Draws.sample(5000, torch.Generator().manual_seed(0))
    assert {(int(y), int(x)) for y, x in draws.offsets} == {(y, x) for y in range(9) for x in range(9)}
    assert draws.flips.float().mean().item() == pytest.approx(0.5, abs=0.03)


def test_batches_are_normalised_by_the_training_split():
    splits = noise_splits(train=200)
    batches = Batches(splits.train, *normalisation(splits.train), torch.device("cpu"))
    images, labels = batches.take(slice(None))
    assert images.mean((0, 2, 3)).numpy() == pytest.approx(np.zeros(3), abs=1e-4)
    assert images.std((0, 2, 3), correction=0).numpy() == pytest.approx(np.ones(3), abs=1e-4)
    assert (labels.numpy() == splits.train.labels).all()


def test_without_normalisation_pixels_lie_between_0_and_1():
    splits = noise_splits(train=200)
    raw = normalisation(splits.train, "none")
    images, _ = Batches(splits.train, *raw, torch.device("cpu")).take(slice(None))
    assert images.numpy() == pytest.approx(splits.train.images / np.float32(255))


def test_a_trial_feeds_its_net_as_data_normalisation_says():
    ranges = {}
    for kind in ("channel", "none"):
        trial = Trial(config(data={"name": "digits", "normalisation": kind}), noise_splits())
        ranges[kind] = trial.train.take(slice(None))[0]
    assert ranges["channel"].min() < -1
    assert 0 <= ranges["none"].min() < 0.01 < 0.99 < ranges["none"].max() <= 1


def test_shared_read_only_images_are_never_written(recwarn):
    splits = noise_splits()
    before = splits.train.images.copy()
    splits.train.images.flags.writeable = False
    batches = Batches(splits.train, *normalisation(splits.train), torch.device("cpu"))
    batches.take(torch.arange(10), Draws.sample(10, torch.Generator()))
    assert (splits.train.images == before).all()
    assert not [w for w in recwarn if "writable" in str(w.message)]


def test_a_constant_channel_does_not_divide_by_zero():
    flat = Split(np.zeros((5, 3, 32, 32), np.uint8), np.zeros(5, np.int64))
    images, _ = Batches(flat, *normalisation(flat), torch.device("cpu")).take(slice(None))
    assert images.isfinite().all()


def test_both_data_sets_are_known():
    assert datasets.names() == ["cifar10", "digits"]
