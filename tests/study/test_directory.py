"""Which spec continues the study that lies in a directory."""

import re
import shlex

import pytest

from study.directory import Directory
from study.spec import load
from trainables.errors import Refused


@pytest.fixture
def begun(tmp_path):
    """A directory in which the quickstart of 9bd26f5 was begun; a blank in its path needs quotes."""
    search = ["search/trials=5", "search/window=4", "search/sampler={name: tpe, n_startup_trials: 6}"]
    path = tmp_path / "my studies" / "quickstart"
    path.mkdir(parents=True)
    (path / "spec.yaml").write_text(load("quickstart", overrides=search).dump())
    return Directory(path)


def test_a_directory_of_an_older_built_in_spec_is_refused_with_the_command_that_goes_on(begun):
    with pytest.raises(Refused, match=r"was run with 6; use another --dir, or go on with the spec") as told:
        begun.check(load("quickstart"))
    command = re.search("`(.*)`", told.value.remedy)
    study, run, spec, option, path = shlex.split(command[1])
    assert (study, run, option, path) == ("study", "run", "--dir", str(begun.path))
    begun.check(load(spec))
    begun.check(load(spec, overrides=["search/trials=9"]))
