"""Passwords of stores: used, shown to nobody, kept nowhere."""

from __future__ import annotations

import base64
import http.client
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from study.console import PlainConsole
from study.credentials import log_in, with_password, without_password
from study.directory import Directory
from study.spec import load
from tests.conftest import run_study
from tests.study.commands import study
from tests.study.postgres import Postgres
from tests.study.test_faults import Running
from tests.study.test_server import Server
from trainables.errors import Refused

USER, OF_SERVER, OF_DATABASE = "me", "f1rst-s3cret", "s3cond-s3cret"


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("http://me:secret@host:5000/x", "http://host:5000/x"),
        ("https://me@host", "https://host"),
        ("postgresql://me:secret@host/db", "postgresql://me@host/db"),
        ("postgresql+psycopg://me:se/cr@et@/db?host=/tmp/a@b", "postgresql+psycopg://me@/db?host=/tmp/a@b"),
        ("postgresql://host/db?user=me&password=secret", "postgresql://host/db?user=me"),
        ("mysql://host/db?passwd=secret&charset=utf8", "mysql://host/db?charset=utf8"),
        ("mssql+pyodbc:///?odbc_connect=UID%3Dme%3BPWD%3Dse%25cr%3BX", "mssql+pyodbc:///?odbc_connect=UID%3Dme%3BX"),
        *[
            (url, url)
            for url in ("http://host/a@b", "postgresql://me@plain/db", "sqlite:////tmp/a:b@c/x.db", "nonsense")
        ],
    ],
)
def test_a_store_is_named_without_its_password_and_connected_with_it(url, plain):
    assert without_password(url) == plain
    assert with_password(plain) == url


def test_mlflow_is_given_a_servers_login_by_its_own_variables(monkeypatch):
    for key in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(key, "another's")
    assert log_in(without_password("http://m%40e:p%2Fw@there:5000")) == "http://there:5000"
    assert (os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"]) == ("m@e", "p/w")
    assert log_in(without_password("postgresql://me:pw@there/db")) == "postgresql://me:pw@there/db"
    assert log_in("http://elsewhere") == "http://elsewhere"


def test_a_directory_knows_its_stores_without_their_passwords(tmp_path):
    server, database = f"http://{USER}:{OF_SERVER}@host:5000", f"postgresql://{USER}:{OF_DATABASE}@host/db"
    directory = Directory(tmp_path)
    identity = directory.identity(server, database)
    assert (identity["tracking_uri"], identity["storage"]) == ("http://host:5000", "postgresql://me@host/db")
    directory.begin(identity)
    directory.accept(load("smoke"))
    assert "s3cret" not in directory.identity_file.read_text()
    for asked, storage in ((None, None), (server, database), ("http://host:5000", "postgresql://me:other@host/db")):
        again = directory.identity(asked, storage)
        assert {key: again[key] for key in identity} == identity
    with pytest.raises(Refused, match=r"--tracking-uri = 'http://elsewhere': this study's results are at http://host"):
        directory.identity(f"http://{USER}:{OF_SERVER}@elsewhere")
    with pytest.raises(Refused, match=r"--storage = 'mysql://me@host/db': this study's search is at postgresql://me@"):
        directory.identity(None, f"mysql://{USER}:{OF_DATABASE}@host/db")


def test_a_password_that_a_former_version_stored_is_used_once_more_and_goes(tmp_path):
    directory = Directory(tmp_path)
    stored = {"study_id": "1", "storage": f"postgresql://{USER}:{OF_DATABASE}@old/db", "begun": "true"}
    directory.identity_file.write_text(yaml.safe_dump(stored))
    identity = directory.identity(None)
    assert with_password(identity["storage"]) == stored["storage"]
    directory.begin(identity)
    assert "s3cret" not in directory.identity_file.read_text()


def test_the_environments_address_may_bring_the_password_each_time(tmp_path, monkeypatch):
    directory = Directory(tmp_path)
    directory.begin(directory.identity("http://host:5001"))
    directory.accept(load("smoke"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{USER}:{OF_SERVER}@host:5001")
    assert directory.identity(None)["tracking_uri"] == "http://host:5001"
    assert OF_SERVER in with_password("http://host:5001")


@pytest.mark.parametrize(
    "override",
    ["question=see http://me:s3cret@host", "base/model=postgresql://me:s3cret@host", "arms={'http://a:s3cret@b': {}}"],
)
def test_a_password_in_a_spec_is_refused(capsys, override):
    result = study(capsys, "check", "smoke", "--set", override)
    said = " ".join(result.err.split())
    assert result.status == 2
    assert ":***@" in said
    assert "a spec is stored with its study, and a password would be with it; leave it to the environment" in said
    assert "s3cret" not in said


def test_what_the_terminal_shows_has_no_password(capsys):
    PlainConsole().say("to go on: study run x --storage postgresql://me:s3cret@host/db")
    assert capsys.readouterr().out == "to go on: study run x --storage postgresql://me:***@host/db\n"


@pytest.mark.parametrize(
    ("option", "url"),
    [("--tracking-uri", "http://me:s3cret@127.0.0.1:9"), ("--storage", "postgresql://me:s3cret@127.0.0.1:9/x")],
)
def test_a_store_that_does_not_answer_is_named_without_its_password(capsys, tmp_path, option, url):
    result = study(capsys, "run", "smoke", "--dir", tmp_path / "s", option, url)
    assert result.status == 2
    assert "does not answer" in result.err
    assert not holding(tmp_path, "s3cret")
    assert "s3cret" not in result.out + result.err


# A whole study


class Door(ThreadingHTTPServer):
    """A door before an MLflow server that lets in whoever knows user and password, as a proxy of a team's would."""

    def __init__(self, server: Server) -> None:
        inside = server.port

        class Keeper(BaseHTTPRequestHandler):
            def forward(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                known = "Basic " + base64.b64encode(f"{USER}:{OF_SERVER}".encode()).decode()
                if self.headers.get("Authorization") != known:
                    self.send_error(401)
                    return
                behind = http.client.HTTPConnection("127.0.0.1", inside, timeout=60)
                kept = {key: text for key, text in self.headers.items() if key not in ("Host", "Authorization")}
                behind.request(self.command, self.path, body, kept)
                answer = behind.getresponse()
                content = answer.read()
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.getheader("Content-Type") or "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Keeper)
        threading.Thread(target=self.serve_forever, daemon=True).start()


@pytest.fixture
def door(tmp_path_factory) -> Iterator[tuple[Door, Path]]:
    """The door, and the folder of the server behind it."""
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    door = Door(server)
    yield door, server.folder
    door.shutdown()
    server.stop()


@pytest.fixture
def database() -> Iterator[Postgres]:
    server = Postgres(OF_DATABASE)
    yield server
    server.remove()


def holding(folder: Path, *words: str) -> list[Path]:
    """The files below the folder in which one of the words stands."""
    found = []
    for file in folder.rglob("*"):
        with suppress(OSError):
            if file.is_file() and any(word.encode() in file.read_bytes() for word in words):
                found.append(file)
    return found


@pytest.mark.faults
def test_no_password_is_found_anywhere_and_the_environment_brings_it_again(door, database, tmp_path):
    """Terminal, Ray's logs, tags, page and directory of a study that is stopped and goes on."""
    keeper, behind = door
    server = f"http://{USER}:{OF_SERVER}@127.0.0.1:{keeper.server_port}"
    search = f"postgresql://postgres:{OF_DATABASE}@/postgres?host={database.home}"
    folder, small = tmp_path / "s", ["batch_sizes=[16]", "search/trials=2", "confirm/seeds=1", "base/epochs=100"]
    sets = [word for each in small for word in ("--set", each)]
    running = Running(folder, *sets, "--tracking-uri", server, "--storage", search)
    running.until_said("starting the workers")
    time.sleep(5)  # Ray is up, or coming up; the six trials take longer
    rays = [found for ray in Path("/tmp").glob("study-ray-*") for found in holding(ray, OF_SERVER, OF_DATABASE)]
    running.process.send_signal(signal.SIGINT)
    said = running.end(130)
    assert "To go on: " in said
    assert said.count(":***@") == 2

    again = ("run", folder / "spec.yaml", "--dir", folder)
    without = run_study(*again)
    assert (without.returncode, "Traceback" in without.stderr) == (2, False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_USERNAME", USER)
        patch.setenv("MLFLOW_TRACKING_PASSWORD", OF_SERVER)
        patch.setenv("PGPASSWORD", OF_DATABASE)
        ran = run_study(*again)
    assert ran.returncode == 0, ran.stderr
    assert (folder / "report" / "index.html").exists()
    terminal = said + without.stdout + without.stderr + ran.stdout + ran.stderr
    for word in (OF_SERVER, OF_DATABASE):
        assert word not in terminal
        assert not [*rays, *holding(folder, word), *holding(behind, word)]
