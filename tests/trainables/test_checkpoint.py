from __future__ import annotations

import os

from tests.tiny import config, noise_splits
from trainables.checkpoint import CheckpointedTrial


def test_a_damaged_checkpoint_costs_time_not_the_trial(tmp_path):
    trial = CheckpointedTrial(config(epochs=4), noise_splits(), tmp_path, test=False, every=0)
    trial.advance()
    whole = (tmp_path / "checkpoint.pt").read_bytes()
    for damaged in (b"", b"garbage", whole[: len(whole) // 2]):
        (tmp_path / "checkpoint.pt").write_bytes(damaged)
        assert CheckpointedTrial(config(epochs=4), noise_splits(), tmp_path, test=False).trial.epoch == 0


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
