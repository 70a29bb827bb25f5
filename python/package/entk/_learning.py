"""Training of linearizations, and predictions from kernels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import _entk
from ._arrays import numbers, of_rows, targets, vector
from ._entk import CrossGram, Gram
from ._errors import InvalidInput
from ._kernels import _cross, _gram, _network
from ._network import _BATCH, Network, _size
from ._params import Params
from ._progress import Progress, observer


@dataclass(frozen=True)
class History:
    """What was measured after each of E epochs: arrays (E,), NaN where nothing was.

    ``epoch`` counts those done, from 1; ``train_loss``, ``train_accuracy``, ``train_rmse`` and the
    three of ``test`` are of all examples; ``minibatch_loss`` is of the epoch's last minibatch,
    before its step; ``distance`` is ||theta - theta_0||; ``learning_rate`` is that of the last
    step; ``outcome`` is "completed", or "converged" where ``stop_at_loss`` was reached.
    """

    epoch: np.ndarray
    train_loss: np.ndarray
    train_accuracy: np.ndarray
    train_rmse: np.ndarray
    test_loss: np.ndarray
    test_accuracy: np.ndarray
    test_rmse: np.ndarray
    minibatch_loss: np.ndarray
    distance: np.ndarray
    learning_rate: np.ndarray
    outcome: str

    def __len__(self) -> int:
        return len(self.epoch)

    def __repr__(self) -> str:
        last = {"train_loss": self.train_loss, "test_loss": self.test_loss}
        measured = {name: losses[~np.isnan(losses)] for name, losses in last.items()}
        shown = [f", {name} {losses[-1]:.4g}" for name, losses in measured.items() if losses.size]
        return f"History({len(self)} epochs, {self.outcome}{''.join(shown)})"


class Fit:
    """A trained linearization: its parameters and its history."""

    __slots__ = ("history", "network", "params", "start")

    def __init__(self, network: Network, start: Params, params: Params, history: History) -> None:
        self.network = network
        self.start = start
        """theta_0, around which the network is linearized."""
        self.params = params
        """theta after training."""
        self.history = history

    def __call__(self, x: Any, *, batch: int = _BATCH) -> np.ndarray:
        """The outputs of the linearization, ``f(theta_0, x) + J(theta_0, x) (theta - theta_0)``, as
        (N, C) in float64."""
        return _entk.linearized_outputs(
            self.network._core,
            self.start._core,
            self.params._core,
            self.network._inputs(x, self.start),
            _size(batch, "batch"),
        )

    def __repr__(self) -> str:
        return f"Fit({len(self.history)} epochs, {self.history.outcome})"


def fit_linearized(
    network: Network,
    x: Any,
    y: Any,
    params: Params | Mapping[str, Any] | None = None,
    *,
    test: tuple[Any, Any] | None = None,
    epochs: int = 100,
    learning_rate: float = 0.05,
    momentum: float = 0.9,
    batch: int = 128,
    schedule: str = "linear",
    loss: str | None = None,
    seed: int = 0,
    eval_every: int = 1,
    stop_at_loss: float | None = None,
    dtype: Any = None,
    progress: Progress = True,
) -> Fit:
    """Trains the linearization of a network around its parameters, by SGD with momentum.

    ``x`` is (N, ...). ``y`` holds labels 0 and 1 (N,) for a network of one output, classes from 0
    (N,) for one of C, or real targets (N, C) or (N,) as floating-point numbers. ``test`` is such a
    pair. ``loss`` is "logistic", "softmax" or "squared", by default that of the targets;
    ``schedule`` is "linear", "constant", "cosine" or "one-cycle". The defaults are the paper's.
    ``progress`` is of epochs, else as for :func:`gram`.

    Minibatches are drawn anew each epoch; what does not fill one is left out of that epoch. The
    squared loss is (1/2N) sum_n,c (f - y)^2. Every ``eval_every`` epochs are measured, others are
    NaN; training ends once the measured training loss is at most ``stop_at_loss`` (outcome
    "converged"). The end point of the squared loss comes from :func:`predict` exactly.

    Raises :class:`InvalidInput`, and :class:`ComputationError` where the training diverges: lower
    the learning rate. Ctrl-C stops it after the epoch.
    """
    start = _network(network)._chosen(params, dtype)

    def examples(x: Any, y: Any, of: str) -> tuple[np.ndarray, np.ndarray]:
        name = f"{of}x", f"{of}y"
        return network._inputs(x, start, name[0]), targets(y, network.outputs, name[1])

    settings = {
        "epochs": _size(epochs, "epochs"),
        "learning_rate": float(learning_rate),
        "momentum": float(momentum),
        "batch": _size(batch, "batch"),
        "schedule": str(schedule),
        "loss": loss,
        "seed": _size(seed, "seed"),
        "eval_every": _size(eval_every, "eval_every"),
        "stop_at_loss": stop_at_loss,
    }
    with observer(progress, "fit_linearized") as watch:
        trained, found = _entk.fit_linearized(
            network._core,
            start._core,
            examples(x, y, ""),
            None if test is None else examples(*test, "test "),
            settings,
            watch,
        )
    return Fit(network, start, Params(trained), History(**found))


@dataclass(frozen=True)
class Prediction:
    """Outputs at M new inputs.

    ``outputs`` are (M, C); ``coefficients`` (N, C), with ``outputs = f_0 + cross @ coefficients``;
    ``residuals`` (C,) are ||(K + ridge) a - y|| / ||y|| of each column, measured, or None with
    ``time``; ``variances`` are (M,) with ``prior``, else None.
    """

    outputs: np.ndarray
    coefficients: np.ndarray
    residuals: np.ndarray | None
    variances: np.ndarray | None

    def __repr__(self) -> str:
        shown = f"outputs {self.outputs.shape}, coefficients {self.coefficients.shape}"
        if self.residuals is not None:
            shown += f", residuals at most {np.max(self.residuals, initial=0.0):.1e}"
        return f"Prediction({shown}{'' if self.variances is None else ', variances'})"


def predict(
    gram: Gram | Any,
    cross: CrossGram | Any,
    y: Any,
    *,
    ridge: float = 0.0,
    time: float | None = None,
    f0: Any = None,
    f0_test: Any = None,
    prior: Any = None,
) -> Prediction:
    """What a kernel predicts at M new inputs from targets ``y`` (N, C) or (N,) on N:
    ``f_0(x) + cross (K + ridge)^-1 (y - f_0)``.

    ``gram`` (N, N) is the kernel on the training inputs, ``cross`` (M, N) that between new inputs
    and them: ``entk.cross_gram(network, x_new, x_train)``. ``y`` are numbers, such as signs -1 and
    1 or one-hot columns; class numbers and truth values are refused. ``f0`` (N, C) and ``f0_test``
    (M, C) are the outputs of the network before training, zero where both are left out. With
    ``time`` the outputs are those at this time of gradient flow on the squared loss
    (1/2N) sum (f - y)^2, in place of the solution with ``ridge``. With ``prior`` (M,), the kernel
    of each new input with itself, ``variances`` are those of a Gaussian process with noise
    ``ridge``. Of outputs="full", pass ``y.reshape(-1)`` of (N, C), example by example, and likewise
    the others.

    The network's linearization, trained to convergence on the squared loss, is this with kernels of
    ``outputs="full"`` and ridge 0 (of a network of one output, any). "trace", "sum" and one output,
    with ``y`` (N, C), treat the C outputs as independent with one kernel for all, which is another
    predictor. Its ``time`` runs differently, too: the trace is a sum over C outputs, so that
    ``time`` / C compares with the network's.

    >>> kernel = entk.gram(network, x, outputs="full")
    >>> cross = entk.cross_gram(network, x_new, x, outputs="full")
    >>> start = {"f0": network(x).reshape(-1), "f0_test": network(x_new).reshape(-1)}
    >>> found = entk.predict(kernel, cross, y.reshape(-1), **start)
    >>> found.outputs.reshape(-1, network.outputs)      # (M, C)

    Raises :class:`InvalidInput` for kernels of different ``outputs``, shapes that do not fit and
    ``f0`` without ``f0_test``, and :class:`ComputationError` where K + ridge is not positive
    definite, or the solution's residual is above 1e-10.
    """
    if time is not None and (ridge or prior is not None):
        raise InvalidInput("time goes with neither ridge nor prior; leave them out")
    if (f0 is None) != (f0_test is None):
        given, missing = ("f0_test", "f0") if f0 is None else ("f0", "f0_test")
        raise InvalidInput(
            f"{given} without {missing}: give both, the outputs of the network at the training and "
            "at the new inputs, or neither"
        )
    kernel, between = _gram(gram), _cross(cross)
    if between.shape[1] != kernel.n:
        raise InvalidInput(
            f"cross is {between.shape}; expected (M, {kernel.n}): "
            "entk.cross_gram(network, x_new, x_train), new inputs first"
        )
    each = kernel.rows_per_example
    outputs, coefficients, residuals, variances = _entk.predict(
        kernel,
        between,
        of_rows(numbers(y, "y"), "y", kernel.n, each),
        float(ridge),
        None if time is None else float(time),
        kernel.n // each,
        None if f0 is None else of_rows(f0, "f0", kernel.n, each),
        None if f0_test is None else of_rows(f0_test, "f0_test", between.shape[0], each),
        None if prior is None else vector(prior, "prior"),
    )
    return Prediction(outputs, coefficients, residuals, variances)
