"""Compiles every kernel that a step launches for a GPU of compute capability 9.0, without one.

    python -m tests.trainables.optimizers.compiled

Run in a process of its own, in which Triton compiles rather than interprets. Steps are taken with launches recorded in
place of made; each kind of launch is then compiled to machine code by the assembler that Triton brings along.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
import triton
from torch import Tensor, nn
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from trainables.optimizers import LAMB, LARS, MCLR, PercentDelta, kernels
from trainables.optimizers.kernels import walks

TARGET = GPUTarget("cuda", 90, 32)
TYPES = {torch.float64: "*fp64", torch.float32: "*fp32", torch.int64: "*i64", torch.int32: "*i32", torch.bool: "*i1"}
OTHERS = {
    torch.float32: ("LARS", "PercentDelta", "LAMB", "MCLR signed"),
    torch.bfloat16: ("LARS", "LAMB", "MCLR signed"),
    torch.float64: ("LARS", "LAMB"),
}
MAKES = {
    "LARS": LARS,
    "PercentDelta": PercentDelta,
    "LAMB": LAMB,
    **{f"MCLR {reading}": partial(MCLR, reading=reading) for reading in ("abs", "signed", "radius")},
    "MCLR without mask": partial(MCLR, zero_mask=False),
    "MCLR sampled": partial(MCLR, sample=10),
}
Launch = tuple[Any, tuple[Any, ...], dict[str, Any]]


def type_of(word: Any) -> str:
    if isinstance(word, Tensor):
        return TYPES[word.dtype]
    return "i32" if -(2**31) <= word < 2**31 else "i64"


def launches(make: Any, dtype: torch.dtype, **options: Any) -> list[Launch]:
    """What a step launches over a weight and a bias."""
    made: list[Launch] = []

    def record(kernel: Any, _programs: int, _device: torch.device, *args: Any, **constants: Any) -> None:
        made.append((kernel, args, constants))

    usual, walks.launch = walks.launch, record
    try:
        params = [nn.Parameter(torch.ones(shape, dtype=dtype)) for shape in ((40, 8), (3,))]
        for p in params:
            p.grad = torch.ones_like(p)
        make(params, **options).step()
    finally:
        walks.launch = usual
    return made


def kinds() -> Iterator[tuple[str, Launch]]:
    """Every rule in float32, plainly and with all that may be given; some in the other types."""
    for name, make in MAKES.items():
        for launch in launches(make, torch.float32, lr=torch.tensor(0.1), weight_decay=0.1):
            yield f"{name}, float32, decayed", launch
    for dtype, names in OTHERS.items():
        for name in names:
            for launch in launches(MAKES[name], dtype, lr=0.1):
                yield f"{name}, {dtype}", launch


def main() -> None:
    assert not triton.knobs.runtime.interpret, "Triton interprets here: unset TRITON_INTERPRET"
    kernels.DEVICES.add("cpu")
    compiled: dict[str, int] = {}
    for name, (kernel, args, constants) in kinds():
        signature = {
            **dict(zip(kernel.arg_names, map(type_of, args), strict=False)),
            **dict.fromkeys(constants, "constexpr"),
        }
        options = {key: constants[key] for key in ("num_warps",) if key in constants}
        fixed = {key: value for key, value in constants.items() if key not in options}
        signature = {key: kind for key, kind in signature.items() if key not in options}
        what = f"{kernel.__name__} {signature} {fixed} {options}"
        if what not in compiled:
            binary = triton.compile(ASTSource(kernel, signature, fixed), target=TARGET, options=options)
            compiled[what] = len(binary.asm["cubin"])
            print(f"{compiled[what]:7} bytes  {name}: {kernel.__module__}.{kernel.__name__}", flush=True)
    print(f"{len(compiled)} compiled, Triton {triton.__version__}")


if __name__ == "__main__":
    main()
