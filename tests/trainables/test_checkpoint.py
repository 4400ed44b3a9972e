from __future__ import annotations

import hashlib
import io
import os
import pickle
import random
import re
from pathlib import Path

import pytest
import torch

from tests.tiny import config, noise_splits
from trainables.checkpoint import DIGEST_BYTES, MAGIC, CheckpointedTrial, Damaged

EPOCHS = 4


def trial_in(folder, **changes):
    return CheckpointedTrial(config(epochs=EPOCHS, **changes), noise_splits(), folder, test=False, every=0)


@pytest.fixture
def saved(tmp_path):
    """The checkpoint of a trial's first epoch."""
    trial_in(tmp_path).advance()
    return tmp_path / "checkpoint.pt"


def state_in(file, **changes):
    """What the checkpoint holds, changed."""
    content = file.read_bytes()
    state = torch.load(io.BytesIO(content[len(MAGIC) + DIGEST_BYTES :]), weights_only=True)
    assert content.startswith(MAGIC)
    return state | changes


def without_checksum(state):
    """As version 0.1 wrote it."""
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


def with_checksum(state):
    content = without_checksum(state)
    return MAGIC + hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest() + content


def starts_over(file):
    """Whether it does, says so once, leaves nothing of the old weights, and is not disturbed by the damage again."""
    trial, fresh = trial_in(file.parent), trial_in(file.parent / "elsewhere")
    assert trial.trial.epoch == 0
    assert all(map(torch.equal, trial.trial.model.state_dict().values(), fresh.trial.model.state_dict().values()))
    first, second = trial.advance(), trial.advance()
    assert re.fullmatch(rf"{re.escape(str(file))} cannot be used \(.+\); its trial starts over", first.warning or "")
    assert second.warning is None
    assert trial_in(file.parent).trial.epoch == 2


def damages(file):
    content, state = file.read_bytes(), state_in(file)
    shapes = {name: torch.zeros(*tensor.shape, 2) for name, tensor in state["model"].items()}
    last = {**state["model"], list(shapes)[-1]: shapes[list(shapes)[-1]]}
    return {
        "nothing": b"", "garbage": b"garbage", "half of it": content[: len(content) // 2], "cut": content[:-1],
        "more": content + b"\0", "the magic alone": MAGIC, "half a digest": content[: len(MAGIC) + 3],
        "half of an old one": without_checksum(state)[:5000],
        "an empty mapping": with_checksum({}), "an old empty mapping": without_checksum({}),
        "a list": with_checksum([1]), "a tensor": without_checksum(torch.zeros(3)),
        "other shapes": with_checksum(state | {"model": shapes}),
        "one other shape": with_checksum(state | {"model": last}),
        "another trial's": with_checksum(state | {"config": "0123456789abcdef"}),
        "another optimizer": with_checksum(state | {"optimizer": {}}), "no rows": with_checksum(state | {"rows": None}),
        "code": pickle.dumps(print),
    }  # fmt: skip


def test_a_checkpoint_damaged_in_any_way_makes_its_trial_start_over_and_say_so_once(saved):
    for content in damages(saved).values():
        saved.write_bytes(content)
        starts_over(saved)


def test_what_lies_in_the_place_of_a_checkpoint_makes_its_trial_start_over(saved, tmp_path):
    (folder := tmp_path / "folder").mkdir()
    (folder / "file").write_text("kept")
    for put in (
        lambda: (saved.mkdir(), (saved / "file").write_text("in the way")),
        lambda: os.mkfifo(saved),
        lambda: saved.symlink_to(folder),
        lambda: saved.symlink_to(tmp_path / "nowhere"),
    ):
        saved.unlink()
        put()
        starts_over(saved)
    assert (folder / "file").read_text() == "kept"


def test_every_flipped_bit_is_noticed(saved):
    content = saved.read_bytes()
    draw = random.Random(7)
    flips = [*range(8 * (len(MAGIC) + DIGEST_BYTES)), *(draw.randrange(8 * len(content)) for _ in range(200))]
    trial = trial_in(saved.parent)
    for flip in flips:
        damaged = bytearray(content)
        damaged[flip // 8] ^= 1 << flip % 8
        saved.write_bytes(damaged)
        with pytest.raises(Damaged):
            trial._load()
    saved.write_bytes(content)
    trial._load()


def test_a_checkpoint_without_a_checksum_is_read(saved):
    saved.write_bytes(without_checksum(state_in(saved)))
    trial = trial_in(saved.parent)
    assert (trial.trial.epoch, trial.advance().warning) == (1, None)
    assert saved.read_bytes().startswith(MAGIC)


def test_one_that_cannot_be_read_makes_its_trial_start_over(saved, monkeypatch):
    monkeypatch.setattr(Path, "read_bytes", lambda _: (_ for _ in ()).throw(OSError(5, "Input/output error")))
    progress = trial_in(saved.parent).advance()
    assert progress.warning == f"{saved} cannot be used (Input/output error); its trial starts over"


def test_each_process_writes_beside_the_checkpoint_under_a_name_of_its_own(tmp_path, monkeypatch):
    names = []
    monkeypatch.setattr("trainables.checkpoint.os.fsync", lambda _: names.extend(p.name for p in tmp_path.iterdir()))
    CheckpointedTrial(config(epochs=4), noise_splits(), tmp_path, test=False, every=0).advance()
    assert names == [f"checkpoint.{os.getpid()}"]
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_folder_that_cannot_be_written_costs_a_warning_not_the_trial(tmp_path):
    (tmp_path / "file").write_text("in the way")
    trial = CheckpointedTrial(config(epochs=2), noise_splits(), tmp_path / "file" / "x", test=False, every=0)
    progress = trial.advance()
    assert progress.status == "running"
    assert progress.warning == f"checkpoints cannot be written in {tmp_path / 'file'} (Not a directory); trials go on"
    assert trial.advance().status == "complete"
