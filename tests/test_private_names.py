"""The private names of libraries that the packages lean on: which ones, where, and that they do what is relied upon.

A library may change a private name in any release. When one of these tests fails after an upgrade, the place to mend is
the file that `DOORS` names.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

ROOT = Path(__file__).parent.parent
PACKAGES = ("trainables", "search_spaces", "study", "reports")

DOORS = {
    "_private": "study/engine.py",  # ray: where clusters are noted, and loopback
    "_foreach_": "trainables/optimizers",  # torch: one call for a list of tensors; a prefix of nine functions
    "_BatchNorm": "trainables/batch_norm.py",  # torch: the base of every batch normalisation
    "_optim_factory": "trainables/optimizers/timm.py",  # timm: its registry of optimizers
    "_make_layer": "trainables/models/resnet18.py",  # torchvision: one stage of a ResNet
}


def private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name.strip("_") != ""


def defined(tree: ast.AST) -> Iterator[str]:
    """The private names that a module gives to something itself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def used(tree: ast.AST) -> Iterator[str]:
    """The private names that a module imports, or takes from an object."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom | ast.Import):
            module = (getattr(node, "module", None) or "").split(".")
            parts = [part for alias in node.names for part in alias.name.split(".")]
            yield from filter(private, [*module, *parts])
        elif isinstance(node, ast.Attribute) and private(node.attr):
            yield node.attr


def foreign_names() -> dict[str, set[str]]:
    """The private names that no file of ours defines, each with the files that use it.

    A library's method that we override counts as ours: it stands in `DOORS` by hand.
    """
    trees = {
        path.relative_to(ROOT).as_posix(): ast.parse(path.read_text())
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
    }
    ours = {name for tree in trees.values() for name in defined(tree)}
    names: dict[str, set[str]] = {}
    for path, tree in trees.items():
        for name in used(tree):
            if name not in ours:
                names.setdefault(name, set()).add(path)
    return names


def test_every_private_name_of_a_library_is_listed_and_stays_behind_its_door():
    for name, files in foreign_names().items():
        doors = [door for known, door in DOORS.items() if name.startswith(known)]
        assert doors, f"{name} in {files} is a private name of a library: find a public one, or list and test it here"
        assert all(file.startswith(doors[0]) for file in files), (name, files)
        assert len(files) == 1 or name.startswith("_foreach_"), f"{name} is used by several files: {files}"


@pytest.mark.parametrize(("name", "door"), DOORS.items())
def test_every_door_is_in_use(name, door):
    files = [ROOT / door] if door.endswith(".py") else (ROOT / door).rglob("*.py")
    assert any(name in path.read_text() for path in files)


def test_the_search_for_private_names_sees_them():
    tree = ast.parse(
        "from timm.optim._a import _b\nimport torch._c\nx._d\nself._e = 1\nself._e\ny.__f__\ndef _g(): ..."
    )
    assert sorted(set(used(tree)) - set(defined(tree))) == ["_a", "_b", "_c", "_d"]
    names = foreign_names()
    assert {"_foreach_add_", "_optim_factory"} <= set(names)


@pytest.fixture
def pair() -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Two lists of a vector and a matrix each."""
    left = [torch.tensor([1.0, 4.0]), torch.tensor([[9.0, 16.0], [25.0, 36.0]])]
    return left, [torch.full_like(tensor, 2.0) for tensor in left]


SCALARS = [torch.tensor(3.0), torch.tensor(5.0)]  # one for each tensor of a list, as tensors
FOREACH = [
    ("add_", lambda a, b: torch._foreach_add_(a, b), lambda a, b, _: a + b),
    ("add_ with alpha", lambda a, b: torch._foreach_add_(a, b, alpha=0.5), lambda a, b, _: a + 0.5 * b),
    ("add_ of numbers", lambda a, _: torch._foreach_add_(a, [3.0, 5.0]), lambda a, _, s: a + s),
    ("add_ of tensors of no dimension", lambda a, _: torch._foreach_add_(a, SCALARS), lambda a, _, s: a + s),
    ("sub_", lambda a, b: torch._foreach_sub_(a, b), lambda a, b, _: a - b),
    ("mul", lambda a, _: torch._foreach_mul(a, SCALARS), lambda a, _, s: a * s),
    ("mul_", lambda a, _: torch._foreach_mul_(a, 0.9), lambda a, *_: a * 0.9),
    ("mul_ of numbers", lambda a, _: torch._foreach_mul_(a, [3.0, 5.0]), lambda a, _, s: a * s),
    ("addcmul_", lambda a, b: torch._foreach_addcmul_(a, b, b, value=0.1), lambda a, b, _: a + 0.1 * b * b),
    ("sqrt", lambda a, _: torch._foreach_sqrt(a), lambda a, *_: a.sqrt()),
    ("div", lambda a, b: torch._foreach_div(a, b), lambda a, b, _: a / b),
    ("neg", lambda a, _: torch._foreach_neg(a), lambda a, *_: -a),
    ("norm", lambda a, _: torch._foreach_norm(a, 2, dtype=torch.float64), lambda a, *_: a.double().norm()),
]


@pytest.mark.parametrize(("call", "expected"), [pytest.param(*row[1:], id=row[0]) for row in FOREACH])
def test_torch_foreach(pair, call, expected):
    left, right = pair
    wanted = [expected(a.clone(), b.clone(), s) for a, b, s in zip(left, right, SCALARS, strict=True)]
    result = call(left, right)
    for got, want in zip(left if result is None else result, wanted, strict=True):
        assert got.dtype == want.dtype
        torch.testing.assert_close(got, want)


def test_every_foreach_that_is_used_is_tried():
    tried = {f"_foreach_{name.split()[0]}" for name, *_ in FOREACH}
    assert {name for name in foreign_names() if name.startswith("_foreach_")} <= tried


def test_ray_keeps_to_loopback_where_it_is_told_that_there_is_no_cluster(monkeypatch):
    from ray._private import ray_constants, services

    monkeypatch.setattr(ray_constants, "ENABLE_RAY_CLUSTER", False)
    assert services.get_node_ip_address() in ("127.0.0.1", "::1")
    assert ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR == "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


def test_ray_notes_where_the_last_cluster_was_started(monkeypatch, tmp_path):
    from ray._private.services import find_bootstrap_address

    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    assert find_bootstrap_address(None) is None
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("10.0.0.1:6379\n")
    assert find_bootstrap_address(None) == "10.0.0.1:6379"


@pytest.mark.parametrize("layer", [nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm])
def test_torch_batch_norms_have_one_base(layer):
    made = layer(3)
    assert isinstance(made, _BatchNorm)
    assert not isinstance(nn.GroupNorm(1, 3), _BatchNorm)
    assert {"running_mean", "running_var", "num_batches_tracked"} == {name for name, _ in made.named_buffers()}


def test_timm_registry_takes_an_optimizer():
    pytest.importorskip("timm")
    from timm.optim import OptimInfo, create_optimizer_v2
    from timm.optim._optim_factory import default_registry

    known = set(inspect.signature(OptimInfo).parameters)
    assert {"name", "opt_class", "description", "has_eps", "has_momentum"} <= known
    default_registry.register(OptimInfo(name="plainofours", opt_class=torch.optim.SGD, description="", has_eps=False))
    made = create_optimizer_v2(nn.Linear(2, 2), "plainofours", lr=0.5)
    assert type(made) is torch.optim.SGD
    assert made.param_groups[0]["lr"] == 0.5


def test_torchvision_resnet_makes_its_stages_in_make_layer():
    from torchvision.models.resnet import BasicBlock, ResNet

    called = []

    class Watched(ResNet):
        def _make_layer(self, block, planes, blocks, stride=1, dilate=False):
            called.append((block, planes, blocks, stride, dilate))
            return super()._make_layer(block, planes, blocks, stride, dilate)

    names = list(inspect.signature(ResNet._make_layer).parameters)
    assert names == ["self", "block", "planes", "blocks", "stride", "dilate"]
    Watched(BasicBlock, [2, 2, 2, 2])
    assert [planes for _, planes, *_ in called] == [64, 128, 256, 512]
