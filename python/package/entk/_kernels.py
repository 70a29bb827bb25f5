"""Kernels and their spectra: what is computed from a network, and from a Gram."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from . import _entk
from ._arrays import reals, task
from ._entk import CrossGram, Eigenpairs, Gram
from ._errors import InvalidInput
from ._network import Network, _size
from ._params import Params
from ._progress import Progress, observer


def gram(
    network: Network,
    x: Any,
    params: Params | Mapping[str, Any] | None = None,
    *,
    outputs: str | int = "trace",
    layers: Iterable[str] = (),
    dtype: Any = None,
    memory: int | None = None,
    progress: Progress = True,
) -> Gram:
    """The empirical neural tangent kernel of a network on N inputs, (N, N):
    ``K[n, m] = sum_c grad f_c(x_n) . grad f_c(x_m)``, a plain sum over parameters and outputs, no
    1/N, 1/P or 1/C.

    ``x`` (N, ...) is an array or a tensor; it is copied once, in the type of the parameters.
    ``params`` are those of the network by default. ``outputs`` says which kernel of C outputs:
    "trace" (above), "sum" (of the gradient of the sum of outputs), "full" ((N C, N C), output c of
    example n at n C + c), or the number of one output. ``layers`` are names of weights that count
    alone, each with its bias. ``dtype`` is that of parameters, products and result: float32 or
    float64, by default that of the parameters. ``memory`` is the number of bytes that the process
    may use. ``progress`` is whether a bar of tqdm is shown after a second, where tqdm is installed,
    or a function of (done, in all), in units of work.

    Raises :class:`InvalidInput` for inputs or parameters that do not fit or are not finite,
    :class:`OutOfMemory` before more memory is taken than there is, :class:`ComputationError` where
    an entry overflows. Ctrl-C stops it.

    >>> kernel = entk.gram(network, x)
    >>> numpy.asarray(kernel)                     # no copy
    """
    chosen = _network(network)._chosen(params, dtype)
    with observer(progress, "gram") as watch:
        return _entk.gram(
            network._core,
            chosen._core,
            network._inputs(x, chosen),
            _which(outputs),
            _names(layers),
            None if memory is None else _size(memory, "memory"),
            watch,
        )


def cross_gram(
    network: Network,
    x: Any,
    others: Any,
    params: Params | Mapping[str, Any] | None = None,
    *,
    outputs: str | int = "trace",
    layers: Iterable[str] = (),
    dtype: Any = None,
    memory: int | None = None,
    progress: Progress = True,
) -> CrossGram:
    """The kernel between M inputs ``x`` (rows) and N inputs ``others`` (columns), (M, N); else as
    :func:`gram`. With "full" it is (M C, N C)."""
    chosen = _network(network)._chosen(params, dtype)
    with observer(progress, "cross_gram") as watch:
        return _entk.cross_gram(
            network._core,
            chosen._core,
            network._inputs(x, chosen),
            network._inputs(others, chosen, "others"),
            _which(outputs),
            _names(layers),
            None if memory is None else _size(memory, "memory"),
            watch,
        )


def eigsh(
    gram: Gram | Any,
    k: int,
    *,
    tol: float = 1e-10,
    seed: int = 0,
    solver: str = "auto",
    max_products: int | None = None,
    progress: Progress = True,
) -> Eigenpairs:
    """The ``k`` largest eigenpairs of a kernel (N, N), with a measured residual for each:
    ``values`` (k,) descending, ``vectors`` (N, k), ``residuals`` (k,), at most ``tol`` times the
    largest value. All in float64, of a kernel in either type; of one in float32 they are pairs of
    the kernel as rounded.

    ``gram`` may be an array (N, N), too. Block Lanczos, or the dense solver where that is as fast
    (N up to 512, k from N/3 on); ``solver`` is "auto", "krylov" or "dense".

    Raises :class:`InvalidInput` unless 1 <= k <= N and 1e-13 <= tol <= 0.1, and
    :class:`ComputationError` if ``max_products`` products do not suffice.
    """
    with observer(progress, "eigsh") as watch:
        return _entk.eigsh(
            _gram(gram),
            _size(k, "k"),
            float(tol),
            _size(seed, "seed"),
            str(solver),
            None if max_products is None else _size(max_products, "max_products"),
            watch,
        )


def eigh(gram: Gram | Any) -> Eigenpairs:
    """All eigenpairs of a kernel (N, N), as :func:`eigsh` gives them. Takes 40 N^2 bytes and of the
    order of N^3 operations. After Ctrl-C the solver goes on in the background, and what it gives is
    dropped."""
    return _entk.eigh(_gram(gram))


def alignment(gram: Gram | Any, y: Any) -> float:
    """The alignment of a task with a kernel, ``y^T K y / N^2``, for targets ``y`` (N,).

    They are numbers, such as signs -1 and 1; class numbers and truth values are refused. Of C
    columns take one at a time, ``y[:, c]``; of outputs="full" all, ``y.reshape(-1)`` of (N, C)."""
    kernel = _gram(gram)
    return _entk.alignment(kernel, task(y, kernel.n, kernel.rows_per_example))


def rayleigh_alignment(gram: Gram | Any, y: Any) -> float:
    """``y^T K y / ||y||^2`` for targets ``y`` (N,), as of :func:`alignment`: of an eigenvector it
    is the eigenvalue."""
    kernel = _gram(gram)
    return _entk.rayleigh_alignment(kernel, task(y, kernel.n, kernel.rows_per_example))


class EnergyConcentration(NamedTuple):
    """How much of a task lies in the leading eigenvectors."""

    ratio: float
    """||Phi y|| / ||y||, where Phi has the eigenvectors as rows."""
    squared: float
    """Its square, the share of the squared norm."""


def energy_concentration(pairs: Eigenpairs, y: Any, k: int) -> EnergyConcentration:
    """How much of the targets ``y`` (N,), as of :func:`alignment`, lies in the ``k`` leading
    eigenvectors."""
    if not isinstance(pairs, Eigenpairs):
        raise InvalidInput(f"pairs is {_type(pairs)}; expected Eigenpairs, of eigsh or eigh")
    targets = task(y, len(pairs.vectors))
    return EnergyConcentration(*_entk.energy_concentration(pairs, targets, _size(k, "k")))


def _network(network: Any) -> Network:
    if isinstance(network, Network):
        return network
    raise InvalidInput(
        f"network is {_type(network)}; expected entk.Network, of a module "
        "entk.Network.from_module(module, x)"
    )


def _gram(kernel: Any) -> Gram:
    """A Gram, or one of the array of somebody else's kernel."""
    return kernel if isinstance(kernel, Gram) else Gram(reals(kernel, "gram"))


def _cross(kernel: Any) -> CrossGram:
    return kernel if isinstance(kernel, CrossGram) else CrossGram(reals(kernel, "cross"))


def _which(outputs: Any) -> str | int:
    return outputs if isinstance(outputs, str) else _size(outputs, "outputs")


def _names(layers: Iterable[str]) -> list[str]:
    if isinstance(layers, str):
        raise InvalidInput(f"layers is {layers!r}; expected a list of names, [{layers!r}]")
    return [str(layer) for layer in layers]


def _type(value: Any) -> str:
    kind = type(value)
    return f"{kind.__module__}.{kind.__qualname__}"
