"""What Ray says of dead workers, cut down to what a person needs. The texts are Ray 2.60's."""

from __future__ import annotations

import pytest

from study.last_words import LENGTH, LINES, SENTENCE, kept, summary

IMPORT = (
    "The actor died because of an error raised in its creation task, \x1b[36mray::B.__init__()\x1b[39m "
    "(pid=11281, ip=192.0.2.2, actor_id=73be, repr=<TemporaryActor object at 0x7f>)\n"
    "           ^^^^^^^^^^^^^^^^^^\n"
    "RuntimeError: The actor with name B failed to import on the worker. This may be because needed library "
    "dependencies are not installed in the worker environment:\n\n"
    "\x1b[36mray::B.__init__()\x1b[39m (pid=11281, ip=192.0.2.2, actor_id=73be)\n"
    "                  ^^^^^^^^^^^^^^^\n"
    "ModuleNotFoundError: No module named 'study'"
)
KILLED = (
    "The actor died unexpectedly before finishing this task.\n\tclass_name: RayTrial\n\tpid: 11235\n\tip: 192.0.2.2\n"
    "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker "
    "unexpectedly exits with a connection error code 2. End of file. Some common causes include: (1) the process was "
    "killed by the OOM killer due to high memory usage, (2) ray stop --force was called.\n"
    "The actor never ran - it was cancelled before it started running."
)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (IMPORT, "ModuleNotFoundError: No module named 'study' on node 192.0.2.2"),
        (KILLED, "Worker unexpectedly exits with a connection error code 2. End of file. on node 192.0.2.2"),
        ("something new", "something new"),
        ("", "nothing is known of it"),
    ],
)
def test_one_sentence_says_what_ended_a_worker(text, sentence):
    assert summary(text) == sentence


def test_what_is_kept_are_the_first_lines_without_colours_and_markers():
    lines = kept(IMPORT).splitlines()
    assert lines[0].startswith(
        "The actor died because of an error raised in its creation task, ray::B.__init__() (pid="
    )
    assert lines[-1] == "ModuleNotFoundError: No module named 'study'"
    assert "^" not in kept(IMPORT)


def test_both_are_bounded():
    endless = "\n".join(["x" * 1000] * 1000)
    assert len(summary(endless)) == SENTENCE
    assert len(kept(endless)) <= LENGTH
    assert len(kept("short\n" * 1000).splitlines()) == LINES
