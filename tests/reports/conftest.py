"""The made-up studies, once for all tests, in one store."""

from __future__ import annotations

from pathlib import Path

import pytest

from study.store import Store
from tests.reports.studies import MadeUp, invent

WHOLE = tuple(f"{arm}/{size}" for arm in ("sgd", "lars", "mclr") for size in (32, 128, 512))
SMALL = ("sgd/32", "sgd/512", "lars/32", "lars/512")

STUDIES = {
    study.name: study
    for study in (
        MadeUp("whole", WHOLE, dead=("mclr/128",), unlucky={"mclr/512": 1}, running=("lars/512",)),
        MadeUp("fixed", SMALL, search=0, seeds=2, validation=False),
        MadeUp("one-seed", SMALL, search=0, seeds=1),
        MadeUp("one-cell", ("sgd/32",), search=0),
        MadeUp("all-diverged", ("sgd/32", "sgd/512"), dead=("sgd/32", "sgd/512"), search=2),
        MadeUp("fixed-diverged", ("sgd/32", "sgd/512"), dead=("sgd/512",), search=0),
        MadeUp("begun", SMALL, search=0, untouched=("sgd/512", "lars/32", "lars/512"), running=("sgd/32",)),
        MadeUp("not-begun", SMALL, untouched=SMALL),
        MadeUp("</script><b>&", ("<i>s/32", "<i>s/64"), search=0, seeds=2, question="</script><script>alert(1)"),
    )
}


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Store]:
    directory: Path = tmp_path_factory.mktemp("studies")
    return {name: invent(study, directory) for name, study in STUDIES.items()}
