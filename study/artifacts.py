"""Texts that are too long for a tag or a parameter: each an artifact of a run, with a pointer in its place.

In an embedded store they lie beside the database, so that they move with a study's directory, where MLflow would look
for them at the place of their making.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from study.schema import Pointer, artifact, fits
from study.text import first_line
from trainables.errors import Refused


class Client(Protocol):
    """What is used of MLflow's client."""

    def log_text(self, run_id: str, text: str, artifact_file: str) -> None: ...
    def log_artifact(self, run_id: str, local_path: str, artifact_path: str | None = None) -> None: ...
    def download_artifacts(self, run_id: str, path: str, dst_path: str | None = None) -> str: ...


class Artifacts:
    """The artifacts of a store at `uri`; `folder` holds those of an embedded one."""

    def __init__(self, client: Client, uri: str, folder: Path | None, passes: Callable[[Exception], bool]) -> None:
        self.client, self.uri, self.folder, self.passes = client, uri, folder, passes

    def fitted(self, texts: Mapping[str, str], run: Callable[[], str], length: int) -> dict[str, str]:
        """The texts by name, each longer than `length` written as an artifact of `run()` and replaced by its pointer.

        Raises Refused where the store's server takes no artifacts.
        """
        return {
            name: text if fits(text, length) else str(self._write(run(), artifact(name), text))
            for name, text in texts.items()
        }

    def whole(self, texts: Mapping[str, str]) -> dict[str, str]:
        """The inverse of `fitted`. Raises Refused where an artifact is lost."""
        return {name: self._read(pointer) if (pointer := Pointer.read(text)) else text for name, text in texts.items()}

    def attach(self, run: str, file: Path, path: str) -> None:
        """A copy of the file as the run's artifact at `path`, whose last part is the file's name.

        Raises Refused as `fitted` does.
        """

        def copy(to: Path) -> None:
            shutil.copyfile(file, to)

        folder, what = str(Path(path).parent), f"the study's {file.name} is to be seen there"
        self._store(run, path, copy, lambda: self.client.log_artifact(run, str(file), folder), what)

    def _write(self, run: str, path: str, text: str) -> Pointer:
        def write(to: Path) -> None:
            to.write_bytes(text.encode())

        what = f"{len(text):,} characters fit no tag"
        self._store(run, path, write, lambda: self.client.log_text(run, text, path), what)
        return Pointer(path, run, len(text))

    def _store(
        self, run: str, path: str, write: Callable[[Path], object], send: Callable[[], None], what: str
    ) -> None:  # fmt: skip
        """An artifact at `path`, whole or not at all: by `write` beside an embedded store, else by `send`."""
        try:
            if self.folder is None:
                send()
            else:
                file = self._file(self.folder, run, path)
                file.parent.mkdir(parents=True, exist_ok=True)
                write(file.with_suffix(".partial"))
                file.with_suffix(".partial").replace(file)
        except Exception as error:  # each server keeps artifacts its own way, and fails its own way
            if (isinstance(error, OSError) and self.folder is not None) or self.passes(error):
                raise
            rule = f"{what}, and the server takes no artifact ({first_line(error)})"
            remedy = "start it with --serve-artifacts, or leave --tracking-uri out"
            raise Refused("tracking_uri", self.uri, rule, remedy) from error

    def _read(self, pointer: Pointer) -> str:
        try:
            if self.folder is not None:
                return self._file(self.folder, pointer.run, pointer.artifact).read_bytes().decode()
            with tempfile.TemporaryDirectory() as scratch:
                return (
                    Path(self.client.download_artifacts(pointer.run, pointer.artifact, scratch)).read_bytes().decode()
                )
        except Exception as error:  # as above
            if self.passes(error):
                raise
            rule = f"has lost the artifact {pointer.artifact} of its run {pointer.run} ({first_line(error)})"
            raise Refused("store", self.uri, rule, "restore it from a copy, or run the study again") from error

    @staticmethod
    def _file(folder: Path, run: str, path: str) -> Path:
        """Where MLflow lays it."""
        return folder / run / "artifacts" / path
