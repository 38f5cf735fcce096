"""Optimizers: a few lines of arithmetic on the flat parameter vector.

``step(theta, gradient, lr)`` changes ``theta`` (parameters,) in place. ``gradient`` is the MEAN gradient of the global
batch; if its norm exceeds ``clip``, it is scaled down to that norm (0: never). All state is in ``state``: vectors of
the length of theta, by name, so that a checkpoint can hold it. ``steps`` counts the updates.

With ``average``, ``state["average"]`` is an exponential moving average of theta with that decay. Over the
first steps it is their plain mean (Polyak and Juditsky 1992). Weight decay applies to weights only. In Adam, RMSProp
and Muon it is decoupled from the gradient's statistics (Loshchilov and Hutter 2019):
theta -= lr * weight_decay * theta.
"""

from collections.abc import Callable, Sequence

import numpy as np

from distlenet.arithmetic import NATIVE, Arithmetic, choose
from distlenet.config import Config


class Optimizer:
    """Base: holds the state and work arrays; ``decays`` (parameters,) is 1 where weight decay applies.

    ``state_names`` are the vectors of the state, zeros at the start. ``takes`` are the fields of Config that an update
    reads from ``settings``, in addition to weight_decay, clip and average. ``matrices`` are the weights of the layers:
    each one's part of theta and its shape (outputs, inputs). ``agree`` makes a number, the gradient's norm, equal on
    ranks with different CPUs; ``share`` makes an array equal on them, in place.
    """

    state_names: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    code_sha256: str | None = None  # of the file that defines a user-defined class
    answer: str | None = None  # SHA-256 of the results of that class in its trial

    def __init__(self, config: Config, decays: np.ndarray) -> None:
        self.arithmetic = choose(config.numerics)
        self.decay = decays * decays.dtype.type(config.weight_decay)  # (parameters,)
        self.clip, self.average = config.clip, config.average
        self.settings: dict[str, float] = {name: getattr(config, name) for name in self.takes}
        self.matrices: Sequence[tuple[slice, tuple[int, int]]] = ()
        self.agree: Callable[[float], float] = lambda norm: norm
        self.share: Callable[[np.ndarray], None] = lambda array: None
        names = (*self.state_names, "average") if self.average else self.state_names
        self.state = {name: np.zeros_like(decays) for name in names}
        self.steps = 0
        self._work = np.zeros_like(decays)
        self._more = np.zeros_like(decays)

    def step(self, theta: np.ndarray, gradient: np.ndarray, lr: float) -> None:
        """Update ``theta`` with the mean ``gradient``, both (parameters,); ``gradient`` may be overwritten."""
        if self.clip:
            # natively its last bit depends on the CPU: BLAS orders the additions
            norm = self.agree(self.arithmetic.norm(gradient))
            if norm > self.clip:  # one extreme batch must not undo the training (Pascanu et al. 2013)
                gradient *= theta.dtype.type(self.clip / norm)
        self.steps += 1
        self.update(theta, gradient, theta.dtype.type(lr))
        if self.average:
            new = 1 - min(self.average, 1 - 1 / self.steps)  # the weight of this step; 1 for the first
            np.subtract(theta, self.state["average"], out=self._work)
            self._work *= theta.dtype.type(new)
            self.state["average"] += self._work

    def update(self, theta: np.ndarray, gradient: np.ndarray, lr: np.floating) -> None:
        """Do the arithmetic of one step."""
        raise NotImplementedError

    def _shrink(self, theta: np.ndarray, lr: np.floating) -> None:
        """Decoupled weight decay."""
        np.multiply(self.decay, theta, out=self._work)
        self._work *= lr
        theta -= self._work

    def _add_decay(self, theta: np.ndarray, gradient: np.ndarray) -> None:
        """Weight decay as part of the gradient: for plain and momentum SGD the two agree up to momentum."""
        gradient += np.multiply(self.decay, theta, out=self._work)


class SGD(Optimizer):
    """theta -= lr * g."""

    def update(self, theta: np.ndarray, gradient: np.ndarray, lr: np.floating) -> None:
        """See Optimizer."""
        self._add_decay(theta, gradient)
        theta -= np.multiply(gradient, lr, out=self._work)


class Momentum(Optimizer):
    """v = momentum * v + g; theta -= lr * v (Polyak 1964)."""

    state_names = ("velocity",)
    takes = ("momentum",)

    def update(self, theta: np.ndarray, gradient: np.ndarray, lr: np.floating) -> None:
        """See Optimizer."""
        self._add_decay(theta, gradient)
        velocity = self.state["velocity"]
        velocity *= theta.dtype.type(self.settings["momentum"])
        velocity += gradient
        theta -= np.multiply(velocity, lr, out=self._work)


class Nesterov(Momentum):
    """v = momentum * v + g; theta -= lr * (g + momentum * v) (Sutskever et al. 2013)."""

    def update(self, theta: np.ndarray, gradient: np.ndarray, lr: np.floating) -> None:
        """See Optimizer."""
        self._add_decay(theta, gradient)
        velocity, momentum = self.state["velocity"], theta.dtype.type(self.settings["momentum"])
        velocity *= momentum
        velocity += gradient
        gradient += np.multiply(velocity, momentum, out=self._work)
        theta -= np.multiply(gradient, lr, out=self._work)


class RMSProp(Optimizer):
    """s = rho * s + (1 - rho) * g^2; theta -= lr * g / (sqrt(s) + eps) (Tieleman and Hinton 2012)."""

    state_names = ("square",)
    takes = ("rho", "epsilon")

    def update(self, theta: np.ndarray, gradient: np.ndarray, lr: np.floating) -> None:
        """See Optimizer."""
        self._shrink(theta, lr)
        square, kind = self.state["square"], theta.dtype.type
        square *= kind(self.settings["rho"])
        np.multiply(gradient, gradient, out=self._work)
        self._work *= kind(1 - self.settings["rho"])
        square += self._work
        np.sqrt(square, out=self._work)
        self._work += kind(self.settings["epsilon"])
        np.divide(gradient, self._work, out=self._work)
        self._work *= lr
        theta -= self._work


class Adam(Optimizer):
    """Adam with bias correction (Kingma and Ba 2015) and decoupled weight decay (AdamW)."""

    state_names = ("mean", "square")
    takes = ("beta1", "beta2", "epsilon")

    def update(self, theta: np.ndarray, gradient: np.ndarray, lr: np.floating) -> None:
        """See Optimizer."""
        self._shrink(theta, lr)
        kind, power = theta.dtype.type, self.arithmetic.power
        beta1, beta2 = self.settings["beta1"], self.settings["beta2"]
        mean, square = self.state["mean"], self.state["square"]
        mean *= kind(beta1)
        mean += np.multiply(gradient, kind(1 - beta1), out=self._work)
        square *= kind(beta2)
        np.multiply(gradient, gradient, out=self._work)
        self._work *= kind(1 - beta2)
        square += self._work
        np.multiply(square, kind(1 / (1 - power(beta2, self.steps))), out=self._work)
        np.sqrt(self._work, out=self._work)
        self._work += kind(self.settings["epsilon"])
        np.multiply(mean, kind(float(lr) / (1 - power(beta1, self.steps))), out=self._more)
        theta -= np.divide(self._more, self._work, out=self._more)


class Muon(Nesterov):
    """Nesterov's step, but that of each matrix is replaced by the nearest semi-orthogonal one (Jordan et al. 2024).

    theta -= lr * max(1, outputs / inputs)^0.5 * orthogonal(g + momentum * v): the matrix moves about equally far in all
    of its directions, not mostly in the few that most gradients share. Biases take Nesterov's step.
    """

    def update(self, theta: np.ndarray, gradient: np.ndarray, lr: np.floating) -> None:
        """See Optimizer."""
        self._shrink(theta, lr)
        velocity, momentum = self.state["velocity"], theta.dtype.type(self.settings["momentum"])
        velocity *= momentum
        velocity += gradient
        gradient += np.multiply(velocity, momentum, out=self._work)
        for part, (outputs, inputs) in self.matrices:
            step = orthogonal(gradient[part].reshape(outputs, inputs), self.arithmetic)
            step *= theta.dtype.type(np.sqrt(max(1.0, outputs / inputs)))
            gradient[part] = step.ravel()
        self.share(gradient)
        theta -= np.multiply(gradient, lr, out=self._work)


POLAR = ((8.2872, -23.5959, 17.3004), (4.1071, -2.9478, 0.5448), (3.9487, -2.9089, 0.5518))


def orthogonal(matrix: np.ndarray, arithmetic: Arithmetic = NATIVE) -> np.ndarray:
    """Return roughly the semi-orthogonal matrix nearest to ``matrix``; zeros for a zero matrix.

    x = a x + (b x x' + c (x x')^2) x, three times, with the first coefficients of Amsel et al. 2025 (Polar Express).
    Singular values from 0.01 to 1 times the norm become 0.19 to 1.87. More iterations, which would bring them closer to
    1, did not train better.
    """
    wide, kind = (matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T), matrix.dtype.type
    x = wide / kind(arithmetic.norm(matrix.ravel()) + 1e-7)
    for a, b, c in POLAR:
        square = _product(x, x.T, arithmetic)
        factor = _product(square, square, arithmetic)
        factor *= kind(c)
        square *= kind(b)
        factor += square
        change = _product(factor, x, arithmetic)
        x *= kind(a)
        x += change
    return x if wide is matrix else x.T


def _product(left: np.ndarray, right: np.ndarray, arithmetic: Arithmetic) -> np.ndarray:
    """Return ``left`` (m, k) times ``right`` (k, n)."""
    new = _New()
    first, second = (arithmetic.factor(factor, new, "") for factor in (left, right))
    return arithmetic.matmul(first, second, np.empty((len(left), right.shape[1]), left.dtype), new)


class _New:
    """Hands out new arrays as buffers."""

    def scratch(self, key: str, shape: tuple[int, ...], dtype: type | None = None) -> np.ndarray:
        """See Buffers."""
        return np.empty(shape, dtype)


class LevenbergMarquardt(Optimizer):
    """theta_k -= lr / (mu + h_k) * g_k, each change at most ``step_limit`` (LeCun et al. 1998, appendix C).

    Stochastic diagonal Levenberg-Marquardt: h is the diagonal second derivative of the mean loss, never negative. The
    training loop estimates it from time to time and writes it to ``state["curvature"]``. Between two estimates the
    curvature may grow: ``step_limit`` (0: none) then keeps the steps short.
    """

    state_names = ("curvature",)
    takes = ("mu", "step_limit", "curvature_samples")

    def update(self, theta: np.ndarray, gradient: np.ndarray, lr: np.floating) -> None:
        """See Optimizer."""
        kind, limit = theta.dtype.type, self.settings["step_limit"]
        self._add_decay(theta, gradient)
        np.add(self.state["curvature"], kind(self.settings["mu"]), out=self._work)
        np.divide(gradient, self._work, out=self._work)
        self._work *= lr
        if limit:
            np.clip(self._work, -kind(limit), kind(limit), out=self._work)
        theta -= self._work


OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "momentum": Momentum,
    "nesterov": Nesterov,
    "rmsprop": RMSProp,
    "adam": Adam,
    "muon": Muon,
    "levenberg-marquardt": LevenbergMarquardt,
}
