"""What plain values of a spec mean, and what is refused with the line it stands on."""

import math

import pytest
import yaml

from study import yaml_core
from trainables.errors import Refused


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        *[(word, word) for word in ("on", "off", "yes", "no", "y", "N", "On", "NO")],
        *[(text, text) for text in ("1:30", "1_000", "=", "2024-01-01", "0b11", "1e", "<<", "nan", "inf")],
        *[("010", 10), ("0o10", 8), ("0x1F", 31), ("+3", 3), ("-0", 0)],
        *[("1e-2", 0.01), ("1E3", 1000.0), (".5", 0.5), ("1.", 1.0), ("-1.5e+2", -150.0), ("6.02e23", 6.02e23)],
        *[(".inf", math.inf), ("-.INF", -math.inf), ("true", True), ("FALSE", False)],
        *[(text, None) for text in ("", "~", "null", "NULL")],
        *[("'1e-2'", "1e-2"), ("!!str 1", "1"), ("!!float 1e3", 1000.0), ("[1e-2, on]", [0.01, "on"])],
    ],
)
def test_a_plain_value_means_what_it_looks_like(text, meaning):
    read = yaml_core.parse(f"key: {text}", "file")["key"]
    assert read == meaning
    assert type(read) is type(meaning)


def test_names_that_yaml_1_1_takes_for_truth_values_are_names():
    assert yaml_core.parse("{on: 1, no: 2, y: 3, =: 4}", "file") == {"on": 1, "no": 2, "y": 3, "=": 4}


def test_a_merge_key_lays_its_own_keys_on_what_it_names():
    text = "a: &a {x: 1, y: 2}\nb: &b {<<: *a, y: 3}\nc: {<<: [{z: 4}, *b], x: 0}"
    assert yaml_core.parse(text, "file") == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 1, "y": 3},
        "c": {"x": 0, "y": 3, "z": 4},
    }


def aliases(levels):
    """A document of a few lines that would have ten to the power of `levels` values."""
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, levels)]
    return "\n".join(lines)


def chain(levels):
    """A flat document that is so deep with its aliases written out."""
    return "\n".join(["a0: &a0 [1]"] + [f"a{level}: &a{level} [*a{level - 1}]" for level in range(1, levels)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\ntrue: 2", r"file, line 2': .* \(the key 'true' is read as no text; put the name in quotes\)"),
        ("1: 2", r"the key '1' is read as no text; put the name in quotes"),
        ("~: 2", r"the key '~' is read as no text"),
        ("? [a]\n: 1", r"the key \(a list\) is read as no text"),
        ("? {a: 1}\n: 1", r"the key \(a mapping\) is read as no text"),
        ("a: 1\nb: 2\na: 3", r"file, line 3': is not valid YAML \(the key 'a' stands twice\); correct that line"),
        ("a: 1e400", r"'1e400' is larger than a number can be"),
        (f"a: {'9' * 5000}", r"'9{40}' is larger than a number can be"),
        ("a:\n\tb: 1", r"file, line 2': is not valid YAML \(found character '\\t' that cannot start any token\)"),
        ("a: &x [*x]", r"a part of it holds itself"),
        ("a: &x {b: {c: *x}}", r"a part of it holds itself"),
        (aliases(6), r"with its aliases written out it has more than 100,000 values"),
        ("[" * 5000, r"SPEC = 'file, line 1': is not valid YAML \(it has more than 32 levels; a spec has some seven\)"),
        ("\n".join(f"{' ' * level}a:" for level in range(1000)), r"SPEC = 'file, line 32': .*more than 32 levels"),
        (chain(1000), r"it has more than 32 levels"),
        ("a: {<<: 3}", r"<< wants a mapping, or a list of mappings"),
        ("a: !!timestamp 2024-01-01", r"could not determine a constructor for the tag .*timestamp"),
        ("a: !!python/name:os.system ''", r"could not determine a constructor"),
        ("a: !!int x", r"'x' is no number"),
        ("a: !!bool yes", r"'yes' is neither true nor false"),
        ("--- 1\n--- 2", r"but found another document"),
        ("a: *b", r"found undefined alias 'b'"),
        ("a: \x01", r"SPEC = 'file': is not valid YAML \(unacceptable character #x0001.*\); correct it"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_with_its_line(text, message):
    with pytest.raises(Refused, match=message) as refused:
        yaml_core.parse(text, "file")
    assert len(str(refused.value)) < 250


def test_aliases_may_be_used_freely_below_that():
    assert len(yaml_core.parse(aliases(4), "file")["a3"]) == 10


@pytest.mark.parametrize("value", [
    "1e-2", "1e5", "0o7", "010", "on", "1_0", "1:30", "=", "~", "true", ".5", "2024-01-01", "<<", "", "a: b", "ü",
    1e-5, 1e22, 0.1, -0.0, math.inf, 3, True, None, [1, "2"], {"a": {"b": [1e-3]}},
])  # fmt: skip
def test_what_is_stored_means_the_same_to_every_reader(value):
    text = yaml_core.dump({"key": value})
    readers = (yaml.safe_load, lambda each: yaml_core.parse(each, ""), lambda each: yaml_core.parse_stored(each, ""))
    assert [reader(text) for reader in readers] == [{"key": value}] * 3


def test_what_former_versions_stored_is_read_as_they_wrote_it():
    for value in ("1e-2", "0o7", "1e5", "on", "1:30", 90, 8, True):
        assert yaml_core.parse_stored(yaml.safe_dump({"key": value}), "") == {"key": value}


@pytest.mark.parametrize(
    ("stored", "written", "equal"),
    [
        ("1e-2", 0.01, True), (0.01, 0.01, True), ("1e-2", 0.02, False), (0.01, "1e-2", False), ("1e-2", "1e-3", False),
        (True, "yes", True), (False, "off", True), (True, "no", False), (90, "1:30", True), (1000, "1_000", True),
        (["1e-2", "1e-3"], [0.01, 0.001], True), (["1e-2"], [0.01, 0.001], False), (["1e-2"], [0.1], False),
        (8, 10, False), ("a", "b", False), ("a: [", 1, False), (None, "~", True), (None, 0, False),
    ],
)  # fmt: skip
def test_two_values_are_the_same_if_one_text_may_have_given_both(stored, written, equal):
    assert yaml_core.same(stored, written) is equal
