"""What callers pass, as the arrays that the compiled half takes: rows one after the other, in one
of its types."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._errors import InvalidInput

_REAL = ("float32", "float64")


def plain(x: Any, name: str) -> np.ndarray:
    """An array of numbers; a tensor of PyTorch is brought to the CPU first."""
    if hasattr(x, "detach"):
        x = x.detach().cpu().numpy()
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise InvalidInput(f"{name} is no array: {error}") from error
    if array.dtype.kind not in "fiub":
        raise InvalidInput(
            f"{name} is of dtype {array.dtype}; expected real numbers, float32 or float64"
        )
    return array


def reals(x: Any, name: str, dtype: str | None = None) -> np.ndarray:
    """Reals in row-major order: in ``dtype``, or in their own if it is one that kernels have."""
    array = plain(x, name)
    if dtype is None:
        dtype = array.dtype.name if array.dtype.name in _REAL else "float64"
    with np.errstate(over="ignore"):  # infinities are refused by name
        return np.require(array, dtype, ["C", "A"])


def ensure_finite(array: np.ndarray, name: str) -> None:
    """Refuses NaN and infinities among examples (N, ...), by the first example that has one."""
    if array.dtype.kind != "f":
        return
    finite = np.isfinite(array)
    if finite.all():
        return
    at = np.unravel_index(int(np.argmin(finite)), array.shape)
    place = ", ".join(str(axis) for axis in at[1:])
    where = f"example {at[0]}" + (f", at ({place})" if place else "")
    raise InvalidInput(f"{name} holds {array[at]} in {where}; remove or repair such examples")


def ids(x: Any, name: str) -> np.ndarray:
    """Numbers of tokens."""
    array = plain(x, name)
    whole = array.dtype.kind in "iu" or bool(np.all(np.floor(array) == array))
    if not whole or array.size and (array.min() < 0 or array.max() >= 2**32):
        raise InvalidInput(f"{name} holds numbers of tokens; expected whole numbers from 0")
    return np.require(array, "uint32", ["C", "A"])


def task(y: Any, rows: int, per_example: int = 1) -> np.ndarray:
    """Targets (N,) in float64 for the N rows of a kernel, of which each example has so many."""
    array = reals(numbers(y, "y"), "y", "float64")
    full = per_example > 1
    if array.ndim != 1:
        advice = (
            'all, example by example: `y.reshape(-1)`, of outputs="full"'
            if full
            else "take one column at a time, `y[:, c]`"
        )
        raise InvalidInput(f"y has shape {array.shape}; expected ({rows},): {advice}")
    if len(array) != rows:
        kernel, advice = f"{rows} rows", "give one for each row"
        if full:
            kernel = f'{rows // per_example} x {per_example} rows (outputs="full")'
            advice = "give N C targets, example by example, `Y.reshape(-1)` of (N, C)"
        raise InvalidInput(f"y has {len(array)} entries, the kernel {kernel}: {advice}")
    return array


def of_rows(y: Any, name: str, rows: int, per_example: int) -> np.ndarray:
    """(N, C) reals in float64 for the N rows of a kernel; (N,) is one column."""
    array = columns(y, name)
    if len(array) == rows:
        return array
    if per_example > 1 and array.size == rows:
        raise InvalidInput(
            f"{name} has shape {array.shape}, the kernel {rows // per_example} x {per_example} "
            f'rows (outputs="full"): pass `{name}.reshape(-1)`'
        )
    raise InvalidInput(f"{name} has {len(array)} rows; expected ({rows},) or ({rows}, C)")


def numbers(y: Any, name: str) -> np.ndarray:
    """Targets of a kernel, (N, C) or (N,), as they were given; class numbers and truth values are
    refused."""
    array = plain(y, name)
    of_many = array.ndim == 2 and array.shape[1] > 1  # such as one-hot
    if array.dtype.kind == "f" or array.size == 0 or of_many:
        return array
    if array.dtype.kind == "b":
        found, signs = "truth values", f"`{name} * 2.0 - 1.0`"
    else:
        low, high = int(array.min()), int(array.max())
        if {low, high} <= {-1, 1} and bool(np.all(abs(array) == 1)):
            return array
        kind = "classes" if low == 0 else "whole numbers"
        found = f"the {kind} {low} {'and' if high == low + 1 else 'to'} {high}"
        half = f"({name} < {(low + high + 1) // 2})"
        signs = f"`{name if (low, high) == (0, 1) else half} * 2.0 - 1.0`"
    raise InvalidInput(
        f"{name} holds {found}; a kernel needs numbers: signs, {signs}, or one column of one-hot "
        f"at a time, `({name} == c) * 1.0`; `{name}.astype(float)` if the numbers are meant"
    )


def vector(x: Any, name: str) -> np.ndarray:
    """N reals in float64."""
    array = reals(x, name, "float64")
    if array.ndim != 1:
        raise InvalidInput(f"{name} has shape {array.shape}; expected (N,)")
    return array


def columns(x: Any, name: str) -> np.ndarray:
    """(N, C) reals in float64; (N,) is one column."""
    array = reals(x, name, "float64")
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise InvalidInput(f"{name} has shape {array.shape}; expected (N,) or (N, C)")
    return array


def targets(y: Any, outputs: int, name: str = "y") -> np.ndarray:
    """What examples are to be mapped to: uint8 labels 0 or 1, uint32 classes, float64 (N, C)."""
    array = plain(y, name)
    if array.dtype.kind == "f":
        return columns(array, name)
    if array.ndim != 1:
        raise InvalidInput(
            f"{name} has shape {array.shape}; expected (N,) for labels, "
            "or real targets (N, C) as float64"
        )
    if array.size and array.min() < 0:
        raise InvalidInput(
            f"{name} has the label {array.min()}; expected labels from 0, "
            "or signs as real targets: y.astype(float)"
        )
    if outputs > 1:
        return array.astype("uint32")
    if array.size and array.max() > 1:
        raise InvalidInput(
            f"{name} has the label {array.max()} and the network one output; expected 0 and 1, "
            "or a network with an output for each class"
        )
    return array.astype("uint8")


def dtype_name(dtype: Any) -> str:
    """The name of a type, as numpy or PyTorch calls it."""
    text = str(dtype)
    try:
        return text.removeprefix("torch.") if text.startswith("torch.") else np.dtype(dtype).name
    except TypeError as error:
        raise InvalidInput(f"dtype is {dtype!r}; expected float32 or float64") from error
