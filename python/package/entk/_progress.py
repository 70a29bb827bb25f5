"""Progress of what takes long: a bar of tqdm, a function of the caller's, or nothing."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

Progress = bool | Callable[[int, int], Any]

# Seconds before a bar appears: what is done by then needs none.
_DELAY = 1.0


@contextlib.contextmanager
def observer(progress: Progress, what: str) -> Iterator[Callable[[int, int], Any] | None]:
    """A function of (done, total) that shows how far a call is, or None."""
    if callable(progress):
        yield progress
        return
    bar = _bar(what) if progress else None
    if bar is None:
        yield None
        return

    def show(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    with bar:
        yield show


def _bar(what: str) -> Any:
    try:
        with warnings.catch_warnings():
            # That a notebook has no widgets; the bar is text then.
            warnings.simplefilter("ignore")
            from tqdm.auto import tqdm  # type: ignore[import-untyped]

            return tqdm(desc=what, delay=_DELAY, unit_scale=True, leave=False, unit="")
    except ImportError:
        return None
