"""Bad input: one clear message, exit status 2 (1 where something fails midway), nothing stored is lost."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from study.schema import Standing
from study.store import Store, default_uri
from tests.study.commands import SMOKE, study


def stored(folder: Path) -> tuple[str, bytes, Standing, list[object]]:
    """All that a study holds."""
    store = Store(default_uri(folder), "smoke")
    trials = store.trials()
    return (
        (folder / "spec.yaml").read_text(),
        (folder / "optuna.journal").read_bytes(),
        store.standing(),
        trials.sort_values("run_id").astype(str).to_numpy().tolist(),
    )


def one_message(result, status: int, pattern: str) -> None:
    text = result.out + result.err
    assert result.status == status, text
    assert "Traceback" not in text
    flat = " ".join(result.err.split())
    assert re.search(pattern, flat), flat
    assert flat.count("study: ") == 1


SET = [
    ("misspelt key", "batchsizes=[16]", r"batchsizes = \[16\]: unknown key; did you mean 'batch_sizes'\? known: "),
    ("misspelt setting", "base/epoch=3", r"base/epoch = 3: unknown key; did you mean 'epochs'\?"),
    ("misspelt option", "arms/sgd/optimizer/momentun=0", r"arms/sgd/optimizer/momentun = 0: unknown key; did you mean 'momentum'"),
    ("p = 1", "arms/sgd/trick/discard={p: 1, epochs: 1}", r"arms/sgd/trick/discard/p = 1: must be less than 1"),
    ("batch too large", "batch_sizes=[16, 512]", r"arms/sgd/batch_size = 512: the training split has 180 images; lower"),
    ("unknown optimizer", "arms/sgd/optimizer={name: adamm}", r"arms/sgd/optimizer/name = 'adamm': none of the optimizers is called so; known: .*lars, mclr, percent_delta, sgd"),
    ("unknown schedule", "base/schedule={name: linear}", r"schedule/name = 'linear': none of the schedules is called so"),
    ("unknown model", "base/model={name: vgg}", r"model/name = 'vgg': none of the models is called so; known: alexnet, resnet18"),
    ("unknown data", "base/data={name: mnist}", r"data/name = 'mnist': none of the data is called so"),
    ("unknown trick", "arms/sgd/trick/discrad={}", r"trick/discrad = 'discrad': none of the tricks is called so; did you mean 'discard'"),
    ("negative seed", "search/seed=-1", r"search/seed = -1: must be greater than or equal to 0"),
    ("seed in base", "base/seed=3", r"base/seed = 3: is not set here; use confirm/seeds and search/seed"),
    ("batch size in an arm", "arms/sgd/batch_size=3", r"arms/sgd/batch_size = 3: is not set here; use batch_sizes"),
    ("zero batch size", "batch_sizes=[16, 0]", r"batch_sizes/1 = 0: must be greater than or equal to 1"),
    ("no batch sizes", "batch_sizes=[]", r"batch_sizes = \[\]: .*at least 1 item"),
    ("a batch size twice", "batch_sizes=[16, 16]", r"batch_sizes = \[16, 16\]: a batch size stands twice"),
    ("baseline of no arm", "baseline/arm=sdg", r"baseline/arm = 'sdg': is no arm of this spec; did you mean 'sgd'"),
    ("baseline of no size", "baseline/batch_size=17", r"baseline/batch_size = 17: is none of batch_sizes; known: 16, 64"),
    ("momentum 1", "arms/sgd/optimizer/momentum=1", r"arms/sgd/optimizer/momentum = 1: must be less than 1"),
    ("gamma not a number", "arms/lars/optimizer/gamma=.nan", r"arms/lars/optimizer/gamma = nan: must be a finite number"),
    ("warm-up without end", "base/schedule/warmup_epochs=2", r"schedule/warmup_epochs = 2\.0: must be below epochs = 2"),
    ("range below zero", "arms/sgd/optimizer/lr={low: -1, high: 1}", r"optimizer/lr = -1\.0: a search range .* \(must be greater than 0\); narrow"),
    ("range upside down", "arms/sgd/optimizer/lr={low: 2, high: 1}", r"arms/sgd/optimizer/lr = .*: low is below high"),
    ("nothing fixed, no search", "search/trials=0", r"arms/sgd/optimizer/lr = None: is required; give it a value"),
    ("search without validation", "base/data/validation=0", r"data/validation = 0: the search chooses by validation accuracy"),
    ("too many images", "base/data/train_size=99999", r"data/train_size = 99999: digits has 1437 images there"),
    ("range without an end", "arms/sgd/optimizer/lr={low: 0.1}", r"arms/sgd/optimizer/lr = \{'low': 0\.1\}: is neither a value nor a range; a range is \{low"),
    ("range misspelt", "arms/sgd/optimizer/lr={lo: 0.1, high: 1}", r"arms/sgd/optimizer/lr = .*: is neither a value nor a range"),
    ("range with a stranger", "arms/sgd/optimizer/beta={low: 0.1, high: 1, lgo: true}", r"arms/sgd/optimizer/beta = .*: is neither a value nor a range"),
    ("no choices", "arms/sgd/optimizer/lr={choices: []}", r"arms/sgd/optimizer/lr = \{'choices': \[\]\}: is neither a value nor a range"),
    ("searched data", "base/data/train_size={choices: [200, 240]}", r"arms/sgd/data/train_size = 'a range': the data are the same for every trial"),
    ("a range of whole numbers", "base/micro_batch={low: 2, high: 9}", r"micro_batch = 5\.5: must be a valid integer"),
    ("no image to choose by", "base/data/validation=0.001", r"data/validation = 0\.001: leaves no image for the search to choose by"),
    ("a section left empty", "base/schedule=null", r"base/schedule = None: a mapping is wanted"),
    ("tricks left empty", "arms/sgd/trick=null", r"arms/sgd/trick = None: a mapping is wanted"),
    ("a trick as a number", "arms/sgd/trick={discard: 0.3}", r"arms/sgd/trick/discard = 0\.3: a mapping of options is wanted"),
    ("a GPU that is not there", "resources/gpus=1", r"resources/gpus = 1\.0: this machine has no GPU"),
    ("no epochs", "base/epochs=0", r"epochs = 0: a whole number of at least 1"),
    ("name with a slash", "name=a/b", r"name = 'a/b': String should match pattern"),
    ("name left out", "name=null", r"name = None: .*valid string"),
    ("first epoch too large", "arms/sgd/trick/first_epoch={batch_size: 999, lr: 0.1}", r"batch_size = 999: the training split has 180 images"),
    ("a GPU where there is none", "base/device=cuda", r"device = 'cuda': torch sees no GPU here"),
    ("no equals sign", "search.trials", r"--set = 'search\.trials': KEY=VALUE is wanted"),
    ("dots for slashes", "search.trials=3", r"parts are joined by /; write --set search/trials=3"),
    ("arm without optimizer", "arms/extra={model: {name: alexnet}}", r"arms/extra/optimizer/name = None: an arm has an optimizer"),
    ("unknown sampler", "search/sampler=annealing", r"search/sampler/name = 'annealing': none of the samplers is called so; known: cmaes, gp, grid, qmc"),
]  # fmt: skip


@pytest.mark.parametrize(("override", "pattern"), [row[1:] for row in SET], ids=[row[0] for row in SET])
def test_a_bad_spec_is_refused_before_anything_is_stored(capsys, tmp_path, override, pattern):
    if re.search("cuda|gpus", override) and __import__("torch").cuda.is_available():
        pytest.skip("there is a GPU here")
    one_message(study(capsys, "run", "smoke", "--dir", tmp_path / "new", "--set", override), 2, pattern)
    assert not (tmp_path / "new").exists()


FILES = [
    ("malformed", "name: [", r"SPEC = '.*spec\.yaml, line 1': is not valid YAML"),
    ("a list", "- a\n- b\n", r"a spec is a mapping of keys to values"),
    ("empty", "", r"a spec is a mapping of keys to values"),
    ("a key twice", SMOKE.read_text() + "name: again\n", r"the key 'name' stands twice"),
    ("no question", SMOKE.read_text().replace("question:", "# "), r"question = None: is required"),
    ("no arms", re.sub(r"arms:\n(  .*\n)+", "arms: {}\n", SMOKE.read_text()), r"arms = \{\}: .*at least 1 item"),
    ("not text", b"\xff\xfe\x00", r"SPEC = '.*spec\.yaml': the file cannot be read \(is not text\)"),
]


@pytest.mark.parametrize(("text", "pattern"), [row[1:] for row in FILES], ids=[row[0] for row in FILES])
def test_a_bad_file_is_refused(capsys, tmp_path, text, pattern):
    (tmp_path / "spec.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    one_message(study(capsys, "check", tmp_path / "spec.yaml"), 2, pattern)


def words(*each: object) -> tuple[object, ...]:
    return each


COMMANDS = [
    ("unknown spec", words("run", "quickstrat"), r"SPEC = 'quickstrat': there is no built-in spec .*did you mean 'quickstart'"),
    ("missing file", words("check", "nowhere.yaml"), r"SPEC = 'nowhere\.yaml': the file cannot be read \(No such file"),
    ("no twin", words("check", "smoke", "--scale", "small"), r"--scale = 'small': the spec 'smoke' has no small section; leave it out"),
    ("no slots", words("run", "smoke", "--slots", 0), r"--slots = 0: at least one trial runs at once"),
    ("no study there", words("status", "/nowhere"), r"DIR = '/nowhere': holds no study"),
    ("no report without a study", words("report", "/nowhere"), r"DIR = '/nowhere': holds no study"),
    ("unknown data set", words("data", "imagenet"), r"NAME = 'imagenet': none of the data is called so; known: cifar10, digits"),
    ("directory below a file", words("run", "smoke", "--dir", "/dev/null/x"), r"--dir = '/dev/null/x': cannot be (read|written) \(Not a directory\)"),
    ("no server", words("run", "smoke", "--dir", "{tmp}/s", "--tracking-uri", "http://127.0.0.1:9"), r"tracking_uri = 'http://127\.0\.0\.1:9': the MLflow store there does not answer"),
    ("no cluster", words("run", "smoke", "--dir", "{tmp}/s", "--address", "127.0.0.1:9"), r"--address = '127\.0\.0\.1:9': no Ray cluster answers there"),
]  # fmt: skip


@pytest.mark.parametrize(("command", "pattern"), [row[1:] for row in COMMANDS], ids=[row[0] for row in COMMANDS])
def test_a_bad_command_is_refused(capsys, tmp_path, command, pattern):
    one_message(study(capsys, *(str(word).replace("{tmp}", str(tmp_path)) for word in command)), 2, pattern)


def test_a_spec_is_priced_without_its_data_and_says_so(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("STUDY_DATA", str(tmp_path / "empty"))
    result = study(capsys, "check", "figure-9", "--scale", "small", "--readings", "none", "--set", "base/data/train_size=64",
                   "--set", "batch_sizes=[64]", "--set", "baseline/batch_size=64")  # fmt: skip
    said = " ".join(result.out.split())
    assert result.status == 0, result.err
    assert re.search(r"is valid: 1 cells, 5 trials, 5 training steps, 320 images; roughly \d", said)
    assert "cifar10 is not here, and was priced by noise of its size; a run needs it: its files in " in said


def test_all_mistakes_of_a_spec_are_told_at_once(capsys):
    mistakes = ["arms/sgd/optimizer/momentun=0", "base/model/width=-1", "arms/lars/optimizer={name: larss}"]
    result = study(capsys, "check", "smoke", *(word for each in mistakes for word in ("--set", each)))
    assert result.status == 2
    told = sorted(line.removeprefix("study: ") for line in result.err.splitlines())
    assert told[0].startswith(
        "arms/lars/optimizer/name = 'larss': none of the optimizers is called so; did you mean 'lars'"
    )
    assert told[1].startswith("arms/sgd/model/width = -1: must be greater than 0")
    assert told[2].startswith("arms/sgd/optimizer/momentun = 0: unknown key; did you mean 'momentum'?")
    assert len(told) == 3, "what is wrong in base is told once"


def test_missing_data_is_named_before_anything_is_stored(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("STUDY_DATA", str(tmp_path / "empty"))
    result = study(capsys, "run", "cifar10-small", "--dir", tmp_path / "new")
    one_message(result, 2, r"data/name = 'cifar10': its files in .*/empty are missing.*run `study data cifar10`")
    assert not (tmp_path / "new").exists()


OTHER = [
    ("another range", "arms/sgd/optimizer/lr={low: 0.1, high: 1}", r"arms/sgd/optimizer/lr/low = 0\.1: the study in .* was run with nothing; use another --dir"),
    ("another model", "base/model/width=0.05", r"base/model/width = 0\.05: the study in .* was run with 0\.03"),
    ("a smaller budget", "search/trials=2", r"search/trials = 2: the study in .* was run with 3"),
    ("fewer seeds", "confirm/seeds=1", r"confirm/seeds = 1: the study in .* was run with 2"),
    ("another seed", "search/seed=5", r"search/seed = 5: the study in .* was run with 0"),
    ("another name", "name=other", r"name = 'other': the study in .* was run with 'smoke'"),
    ("fewer batch sizes", "batch_sizes=[16]", r"batch_sizes = \[16\]: the study in .* was run with \[16, 64\]"),
]  # fmt: skip


@pytest.mark.parametrize(("override", "pattern"), [row[1:] for row in OTHER], ids=[row[0] for row in OTHER])
def test_a_directory_of_another_study_is_refused_and_kept(capsys, smoke, override, pattern):
    before = stored(smoke)
    one_message(study(capsys, "run", "smoke", "--dir", smoke, "--set", override), 2, pattern)
    assert stored(smoke) == before


def test_an_arm_left_out_is_refused(capsys, smoke, tmp_path):
    (tmp_path / "one.yaml").write_text(re.sub(r"  lars: .*\n", "", SMOKE.read_text()))
    pattern = r"arms/lars/optimizer/name = None: the study in .* was run with 'lars'"
    one_message(study(capsys, "run", tmp_path / "one.yaml", "--dir", smoke), 2, pattern)


def test_another_store_is_refused(capsys, smoke):
    before = stored(smoke)
    result = study(capsys, "run", "smoke", "--dir", smoke, "--tracking-uri", "http://127.0.0.1:9")
    one_message(
        result, 2, r"--tracking-uri = .*: this study's results are at mlflow\.db in its directory; leave it out"
    )
    assert stored(smoke) == before


def test_a_store_that_belongs_to_another_directory_is_refused(capsys, smoke, tmp_path):
    before = stored(smoke)
    result = study(capsys, "run", "smoke", "--dir", tmp_path / "new", "--tracking-uri", default_uri(smoke))
    one_message(
        result, 2, r"name = 'smoke': the store at .* has an experiment of this name from another directory; rename"
    )
    assert stored(smoke) == before


def test_ranges_that_changed_under_a_study_are_refused(capsys, smoke, monkeypatch):
    from search_spaces import Float, table

    before = stored(smoke)
    wider = tuple(table.Row(f"optimizer/{key}", Float(1, 2), "") for key in ("gamma", "excluded_lr"))
    monkeypatch.setitem(table.TABLE, "lars", wider)
    result = study(capsys, "run", "smoke", "--dir", smoke)
    one_message(
        result, 2, r"optimizer/gamma = .*: trial 0 of lars/16 was drawn from FloatDistribution.*use the version"
    )
    assert stored(smoke) == before


def test_two_runs_in_one_directory_are_refused(capsys, smoke):
    import fcntl

    before = stored(smoke)
    with (smoke / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        one_message(
            study(capsys, "run", "smoke", "--dir", smoke), 2, r"--dir = .*: another `study run` is at work there"
        )
    assert stored(smoke) == before


@pytest.mark.parametrize(
    ("file", "pattern"),
    [
        ("spec.yaml", r"is not valid YAML"),
        ("store.yaml", r"store\.yaml = .*: is damaged"),
        ("optuna.journal", r"optuna\.journal = .*: is damaged"),
        ("mlflow.db", r"tracking_uri = .*: the MLflow store there does not answer"),
    ],
)
def test_a_damaged_file_is_named_and_left_alone(capsys, smoke, tmp_path, file, pattern):
    copy = shutil.copytree(smoke, tmp_path / "copy")
    (copy / file).write_text("{[ nonsense\n" * 3)
    one_message(study(capsys, "run", "smoke", "--dir", copy), 2, pattern)
    assert (copy / file).read_text() == "{[ nonsense\n" * 3


def test_a_study_that_lost_its_spec_keeps_its_results(capsys, smoke, tmp_path):
    copy = shutil.copytree(smoke, tmp_path / "copy")
    (copy / "spec.yaml").unlink()
    assert study(capsys, "run", "smoke", "--dir", copy).status == 0
    assert stored(copy) == stored(smoke)


def test_a_store_that_lost_trials_is_named(capsys, smoke, tmp_path):
    copy = shutil.copytree(smoke, tmp_path / "copy")
    (copy / "mlflow.db").unlink()
    one_message(
        study(capsys, "run", "smoke", "--dir", copy), 2, r"store = 'sqlite:.*': has lost 20 trials that had ended"
    )
    assert (copy / "optuna.journal").read_bytes() == (smoke / "optuna.journal").read_bytes()


def test_an_export_of_an_unknown_kind_is_refused(capsys, smoke, tmp_path):
    one_message(
        study(capsys, "export", smoke, "--to", tmp_path / "t.xlsx"),
        2,
        r"--to = .*: the file ends in \.csv or \.parquet",
    )
    one_message(study(capsys, "export", smoke, "--to", tmp_path / "no" / "t.csv"), 2, r"--to = .*: cannot be written")


def test_a_report_that_cannot_be_written_is_one_message(capsys, smoke, tmp_path):
    copy = shutil.copytree(smoke, tmp_path / "copy")
    shutil.rmtree(copy / "report")
    (copy / "report").write_text("in the way")
    one_message(study(capsys, "report", copy), 1, r"study: .*/copy/report: File exists; what was stored stays")


def test_inside_a_ray_job_a_relative_directory_is_refused(capsys, monkeypatch):
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    one_message(
        study(capsys, "run", "smoke"), 2, r"--dir = .*inside a Ray job the working folder is temporary.*absolute --dir"
    )
