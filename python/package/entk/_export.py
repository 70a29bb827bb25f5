"""Modules of PyTorch on their way to a network: a module and a batch come in, an archive in memory
goes out, and what the archive cannot hold. Network.from_module calls it."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from typing import Any

from ._errors import Error, InvalidInput


def exported(module: Any, example_inputs: Any) -> tuple[bytes, list[str]]:
    """The archive of a module in evaluation mode, and notes on what is not in it."""
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            "Network.from_module needs torch, to export the module; install torch, or export it "
            "elsewhere and use Network.from_pt2"
        ) from error
    if not isinstance(module, torch.nn.Module):
        raise InvalidInput(f"module is {type(module).__name__}; expected a torch.nn.Module")
    inputs = example_inputs if isinstance(example_inputs, tuple) else (example_inputs,)
    if len(inputs) != 1 or not torch.is_tensor(inputs[0]):
        raise InvalidInput(
            "example_inputs must be one tensor (N, ...); wrap a module of several inputs into one "
            "that takes them as one tensor"
        )
    trained = [part for part in module.modules() if part.training]
    module.eval()
    try:
        with warnings.catch_warnings(), _silent("torch"):
            warnings.simplefilter("ignore")
            program = torch.export.export(module, inputs, dynamic_shapes=_free_batch(inputs[0]))
            archive = io.BytesIO()
            torch.export.save(program, archive)
            notes = _lost(module, inputs[0][:2])
    except Error:
        raise
    except Exception as error:
        raise InvalidInput(_refusal(error)) from error
    finally:
        for part in trained:
            part.training = True
    return archive.getvalue(), notes


def _refusal(error: Exception) -> str:
    """What torch says in its first line, and what most often lies behind it."""
    text = str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    first = lines[0] if lines else type(error).__name__
    depends = "data-dependent" in text or "GuardOnDataDependent" in type(error).__name__
    help = (
        " (a branch on values? use torch.where; `.data` or `.item()`? leave it out)"
        if depends
        else ""
    )
    return f"torch.export cannot write this module{help}: {first}"


@contextlib.contextmanager
def _silent(name: str) -> Iterator[None]:
    """Without the graphs that torch logs and prints where it fails."""
    loggers = [logging.getLogger(name)]
    loggers += [
        logger
        for key, logger in logging.Logger.manager.loggerDict.items()
        if key.startswith(f"{name}.") and isinstance(logger, logging.Logger)
    ]
    before = [logger.disabled for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled


def _free_batch(x: Any) -> Any:
    """The batch as a free axis; a batch of one would be taken for a constant."""
    import torch

    if x.dim() == 0 or x.shape[0] < 2:
        raise InvalidInput(
            f"example_inputs has shape {tuple(x.shape)}; expected a batch (N, ...) of two or more"
        )
    return ({0: torch.export.Dim("batch")},)


def _lost(module: Any, x: Any) -> list[str]:
    """Notes on gradients and buffers of the module's own, of which an archive has no trace.

    The module is run once, on copies of its buffers.
    """
    notes = []
    hooked = [name for name, tensor in module.named_parameters() if tensor._backward_hooks]
    hooked += [
        name or "the module itself"
        for name, part in module.named_modules()
        if part._backward_hooks or part._backward_pre_hooks
    ]
    if hooked:
        notes.append(
            f"hooks on gradients are not exported ({_some(hooked)}): the kernel is that of what "
            "forward computes"
        )
    with contextlib.suppress(Exception):  # an archive was written: notes are all that is at stake
        custom, changed = _observed(module, x)
        if custom:
            notes.append(
                f"the backward of a torch.autograd.Function is not exported ({_some(custom)}): the "
                "kernel is that of what its forward computes"
            )
        if changed:
            notes.append(
                f"buffers that forward changes have the value of the first call ({_some(changed)})"
            )
    return notes


def _observed(module: Any, x: Any) -> tuple[list[str], list[str]]:
    """Names of autograd functions behind the outputs, and of buffers that a call changes."""
    import torch

    buffers = {name: tensor.clone() for name, tensor in module.named_buffers()}
    given = {name: tensor.clone() for name, tensor in buffers.items()}
    with torch.enable_grad():
        y = torch.func.functional_call(module, buffers, (x.detach(),))
    changed = [
        name
        for name, tensor in buffers.items()
        if tensor.shape != given[name].shape or not torch.equal(tensor, given[name])
    ]
    node = torch.autograd.function.BackwardCFunction
    custom, seen, left = set(), set(), [y.grad_fn]
    while left:
        at = left.pop()
        if at is None or at in seen:
            continue
        seen.add(at)
        if isinstance(at, node):
            custom.add(type(at).__name__.removesuffix("Backward"))
        left += [before for before, _ in at.next_functions]
    # What recomputes has the gradient of what it recomputes; hooks are noted by the module.
    return sorted(custom - {"CheckpointFunction", "BackwardHookFunction"}), changed


def _some(names: list[str]) -> str:
    """The first of many."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
