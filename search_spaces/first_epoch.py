"""The rate of the first epoch, where the spec does not fix it."""

from search_spaces import Float, Range


def space(batch_size: int, epochs: int) -> dict[str, Range]:  # noqa: ARG001
    return {"trick/first_epoch/lr": Float(1e-4, 1e-1, log=True)}
