"""YAML as specs are written in it: a plain value means what it looks like.

PyYAML reads YAML 1.1, in which `on`, `no` and `y` are truth values, `1e-2` is text, `1:30` is ninety, `010` is eight,
`2024-01-01` a date and `=` an error. Specs and `--set` are read by the core schema of YAML 1.2 (yaml.org/spec/1.2.2,
section 10.3.2) instead: null, true, false, whole numbers (also 0o7 and 0x1F), floats, and else text. Of YAML 1.1 the
merge key `<<` is kept. What a study's directory stores was written by PyYAML, and is read back by YAML 1.1.
"""

from __future__ import annotations

import re
from math import isinf
from typing import Any

import yaml

from trainables.errors import Refused

PATTERNS = {  # in the order in which they are tried
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+",
    "float": r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
    "merge": r"<<",
}
TAG = "tag:yaml.org,2002:"
NODES = 100_000  # of one document, counting each use of an alias; a spec has a few hundred
DIGITS = 300  # of a whole number
DEEPEST = 32  # levels of one document; a spec has some seven


def parse(text: str, source: str) -> Any:
    """What the YAML `text` of `source` (a file, or an option) holds, by the core schema. Raises Refused."""
    return _load(text, source, _Core)


def parse_stored(text: str, source: str) -> Any:
    """What `dump`, or PyYAML of a former version, wrote. Raises Refused."""
    return _load(text, source, _Loader)


def same(stored: Any, written: Any) -> bool:
    """Whether one text of a spec may have given both: `stored` by YAML 1.1, `written` by the core schema.

    So `lr: 1e-2`, which was stored as text, goes on as the number 0.01, and `nesterov: yes`, stored as true, as text.
    """
    if isinstance(stored, list) and isinstance(written, list):
        return len(stored) == len(written) and all(map(same, stored, written))
    if stored == written:
        return True
    by_core = isinstance(stored, str) and not isinstance(written, str) and _plain(stored, _Core) == written
    by_1_1 = isinstance(written, str) and not isinstance(stored, str) and _plain(written, _Loader) == stored
    return by_core or by_1_1


def _plain(text: str, loader: type[_Loader]) -> Any:
    """What `text` means as a plain value; itself where it is none."""
    try:
        return yaml.load(text, loader)
    except yaml.YAMLError:
        return text


def dump(tree: Any) -> str:
    """The tree as YAML that both schemas read as the same."""
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


class _Loader(yaml.SafeLoader):
    """YAML 1.1 with every key once, every key text, and no document that is endless or grows without end."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > DEEPEST:
            raise _too_deep(self.peek_event().start_mark)  # type: ignore[no-untyped-call]
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        known: set[str] = set()
        for key, _ in node.value:
            if key.tag == f"{TAG}merge":
                continue
            if key.tag != f"{TAG}str":
                raise _problem(key, f"the key {_shown(key)} is read as no text; put the name in quotes")
            if key.value in known:
                raise _problem(key, f"the key {_shown(key)} stands twice")
            known.add(key.value)
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Put what `<<` names before the mapping's own keys, which win; of several that it names, the first wins."""
        own = [pair for pair in node.value if pair[0].tag != f"{TAG}merge"]
        keys, inherited = {key.value for key, _ in own}, []
        for below in [value for key, value in node.value if key.tag == f"{TAG}merge"]:
            for under in below.value if isinstance(below, yaml.SequenceNode) else [below]:
                if not isinstance(under, yaml.MappingNode):
                    raise _problem(under, "<< wants a mapping, or a list of mappings")
                self.flatten_mapping(under)
                inherited += [pair for pair in under.value if pair[0].value not in keys]
                keys |= {key.value for key, _ in under.value}
        node.value = inherited + own

    def get_single_node(self) -> yaml.Node | None:
        root = super().get_single_node()
        if root is not None:
            _check_size(root)
        return root


class _Core(_Loader):
    """The core schema of YAML 1.2, and `<<`. A tag of any other kind (dates, sets, binaries) is an error."""


class _Dumper(yaml.SafeDumper):
    """Puts text in quotes that either schema would read as something else."""


def _number(loader: _Core, node: yaml.ScalarNode) -> int | float:
    """A whole number or a float, whichever it looks like."""
    text = str(loader.construct_scalar(node))
    if re.fullmatch(PATTERNS["int"], text) and len(text) < DIGITS:
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    if not re.fullmatch(PATTERNS["float"], text):
        raise _problem(node, f"{_shown(node)} is no number")
    value = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    if isinf(value) and "inf" not in text.lower():
        raise _problem(node, f"{_shown(node)} is larger than a number can be")
    return value


def _bool(loader: _Core, node: yaml.ScalarNode) -> bool:
    text = str(loader.construct_scalar(node))
    if not re.fullmatch(PATTERNS["bool"], text):
        raise _problem(node, f"{_shown(node)} is neither true nor false")
    return text.lower() == "true"


def _set_up() -> None:
    """The core schema's resolvers and constructors in place of YAML 1.1's, and the dumper's second opinion."""
    patterns = {kind: re.compile(rf"(?:{pattern})\Z") for kind, pattern in PATTERNS.items()}
    _Core.yaml_implicit_resolvers = {None: [(f"{TAG}{kind}", pattern) for kind, pattern in patterns.items()]}
    _Core.yaml_constructors = {}
    _Core.add_constructor(f"{TAG}merge", yaml.SafeLoader.yaml_constructors[f"{TAG}str"])  # as a value it is text
    for kind in ("null", "str", "seq", "map"):
        _Core.add_constructor(f"{TAG}{kind}", yaml.SafeLoader.yaml_constructors[f"{TAG}{kind}"])
    for kind in ("int", "float"):
        _Core.add_constructor(f"{TAG}{kind}", _number)
        _Dumper.add_implicit_resolver(f"{TAG}{kind}", patterns[kind], None)
    _Core.add_constructor(f"{TAG}bool", _bool)
    _Core.add_constructor(None, yaml.SafeLoader.yaml_constructors[None])  # refuses


_set_up()


def _check_size(root: yaml.Node) -> None:
    """Raises MarkedYAMLError where a node holds itself, or where aliases of aliases make the tree larger than any spec.

    Aliases stand below what they name, so the recursion is no deeper than the text.
    """
    sizes: dict[int, tuple[int, int]] = {}  # values and levels, by node; (0, 0) while the node is being measured

    def size(node: yaml.Node) -> tuple[int, int]:
        if id(node) in sizes:
            if sizes[id(node)] == (0, 0):
                raise _problem(node, "a part of it holds itself")
            return sizes[id(node)]
        sizes[id(node)] = 0, 0
        below = node.value if isinstance(node, yaml.SequenceNode) else []
        if isinstance(node, yaml.MappingNode):
            below = [each for pair in node.value for each in pair]
        each = list(map(size, below))
        values, levels = 1 + sum(values for values, _ in each), 1 + max((levels for _, levels in each), default=0)
        if values > NODES:
            raise _problem(node, f"with its aliases written out it has more than {NODES:,} values")
        if levels > DEEPEST:
            raise _too_deep(node.start_mark)
        sizes[id(node)] = values, levels
        return values, levels

    size(root)


def _too_deep(mark: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=f"it has more than {DEEPEST} levels; a spec has some seven", problem_mark=mark)


def _load(text: str, source: str, loader: type[_Loader]) -> Any:
    try:
        return yaml.load(text, loader)
    except yaml.MarkedYAMLError as error:
        where = f"{source}, line {error.problem_mark.line + 1}" if error.problem_mark else source
        raise Refused("SPEC", where, f"is not valid YAML ({error.problem})", "correct that line") from None
    except yaml.YAMLError as error:
        raise Refused("SPEC", source, f"is not valid YAML ({str(error).splitlines()[0]})", "correct it") from None


def _problem(node: yaml.Node, text: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=text, problem_mark=node.start_mark)


def _shown(node: yaml.Node) -> str:
    """The node's text, as far as fits into a message."""
    if isinstance(node, yaml.ScalarNode):
        return repr(node.value[:40])
    return "(a list)" if isinstance(node, yaml.SequenceNode) else "(a mapping)"
