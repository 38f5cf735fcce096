import numpy as np
import pytest

from distlenet.arithmetic import PORTABLE
from distlenet.config import Config
from distlenet.errors import ConfigError
from distlenet.nn.optimizers import OPTIMIZERS, orthogonal
from distlenet.nn.rules import build_optimizer

STEPS, SIZE = 20, 50
FIRST_ORDER = pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "levenberg-marquardt"])
ALL = pytest.mark.parametrize("name", OPTIMIZERS)
SETTINGS = {"momentum": 0.8, "beta1": 0.7, "beta2": 0.95, "rho": 0.85, "epsilon": 1e-6}


def problem(dtype=np.float64, seed=0):
    """Return theta (parameters,), the decay mask, a gradient and a rate for each step."""
    random = np.random.default_rng(seed)
    decays = (np.arange(SIZE) % 5 > 0).astype(dtype)
    gradients = random.normal(size=(STEPS, SIZE)) * 10.0 ** random.integers(-3, 2, SIZE)
    return (
        random.normal(size=SIZE).astype(dtype),
        decays,
        gradients.astype(dtype),
        0.05 / (1 + np.arange(STEPS)),
    )


def make(name, decays, weight_decay=0.0, **settings):
    return build_optimizer(Config(optimizer=name, weight_decay=weight_decay, clip=0.0, **settings), decays)


def run(optimizer, theta, gradients, rates):
    for gradient, rate in zip(gradients, rates, strict=True):
        optimizer.step(theta, gradient.copy(), rate)
    return theta


def by_the_book(name, theta, decay, gradients, rates, momentum, beta1, beta2, rho, epsilon):
    """Return theta after the published rule, in float64, one formula at a time."""
    theta = theta.astype(np.float64)
    v, s = np.zeros_like(theta), np.zeros_like(theta)
    for t, (g, lr) in enumerate(zip(gradients.astype(np.float64), rates, strict=True), start=1):
        if name in ("sgd", "momentum", "nesterov"):
            g = g + decay * theta
            v = (0 if name == "sgd" else momentum) * v + g
            theta = theta - lr * (g + momentum * v if name == "nesterov" else v)
        elif name == "muon":  # without matrices
            v = momentum * v + g
            theta = theta - lr * decay * theta - lr * (g + momentum * v)
        elif name == "rmsprop":
            s = rho * s + (1 - rho) * g**2
            theta = theta - lr * decay * theta - lr * g / (np.sqrt(s) + epsilon)
        else:
            v = beta1 * v + (1 - beta1) * g
            s = beta2 * s + (1 - beta2) * g**2
            update = (v / (1 - beta1**t)) / (np.sqrt(s / (1 - beta2**t)) + epsilon)
            theta = theta - lr * decay * theta - lr * update
    return theta


@FIRST_ORDER
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 2e-5)])
def test_follows_the_published_rule(name, weight_decay, dtype, tolerance):
    theta, decays, gradients, rates = problem(dtype)
    expected = by_the_book(name, theta, weight_decay * decays, gradients, rates, **SETTINGS)
    found = run(make(name, decays, weight_decay, **SETTINGS), theta, gradients, rates)
    assert found is theta and found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * (1 + abs(expected).max()))


@FIRST_ORDER
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_agrees_with_torch(name, weight_decay):
    torch = pytest.importorskip("torch")
    if name == "rmsprop" and weight_decay:
        pytest.skip("torch adds the decay to the gradient's statistics")
    if name == "muon":
        pytest.skip("torch's Muon has another momentum")
    theta, _, gradients, rates = problem()
    s = SETTINGS
    parameter = torch.nn.Parameter(torch.tensor(theta))
    theirs = {
        "sgd": lambda p: torch.optim.SGD(p, lr=1, weight_decay=weight_decay),
        "momentum": lambda p: torch.optim.SGD(p, lr=1, momentum=s["momentum"], weight_decay=weight_decay),
        "nesterov": lambda p: torch.optim.SGD(
            p, lr=1, momentum=s["momentum"], weight_decay=weight_decay, nesterov=True
        ),
        "rmsprop": lambda p: torch.optim.RMSprop(p, lr=1, alpha=s["rho"], eps=s["epsilon"]),
        "adam": lambda p: torch.optim.AdamW(
            p, lr=1, betas=(s["beta1"], s["beta2"]), eps=s["epsilon"], weight_decay=weight_decay
        ),
    }[name]([parameter])
    for gradient, rate in zip(gradients, rates, strict=True):
        theirs.param_groups[0]["lr"] = rate
        parameter.grad = torch.tensor(gradient)
        theirs.step()
    found = run(make(name, np.ones(SIZE), weight_decay, **SETTINGS), theta, gradients, rates)
    np.testing.assert_allclose(found, parameter.detach().numpy(), rtol=1e-11, atol=1e-11)


@ALL
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_restored_state_continues_with_the_same_bits(name, weight_decay):
    theta, decays, gradients, rates = problem(np.float32)
    whole = run(make(name, decays, weight_decay), theta.copy(), gradients, rates)
    before = make(name, decays, weight_decay)
    run(before, theta, gradients[:7], rates[:7])
    after = make(name, decays, weight_decay)
    assert list(after.state) == list(after.state_names)
    for key, value in before.state.items():
        after.state[key][...] = value
    after.steps = before.steps
    assert before.steps == 7
    np.testing.assert_array_equal(run(after, theta, gradients[7:], rates[7:]), whole)


@FIRST_ORDER
def test_decay_shrinks_weights_and_leaves_biases(name):
    theta, decays, gradients, _ = problem()
    start = theta.copy()
    make(name, decays, 0.5).step(theta, 0 * gradients[0], 0.1)
    weights, biases = decays == 1, decays == 0
    np.testing.assert_array_equal(theta[biases], start[biases])
    factor = 1 - 0.1 * 0.5 * (1.9 if name == "nesterov" else 1)  # its first step looks ahead by momentum = 0.9
    np.testing.assert_allclose(theta[weights], factor * start[weights], rtol=1e-12)


@ALL
@pytest.mark.parametrize(("slope", "speed", "weight_decay"), [(1, 0, 0.5), (0, 1, 0.0)], ids=["rate", "gradient"])
def test_a_rate_or_gradient_of_zero_changes_nothing(name, slope, speed, weight_decay):
    theta, decays, gradients, rates = problem(np.float32)
    start = theta.copy()
    run(make(name, decays, weight_decay), theta, slope * gradients, speed * rates)
    np.testing.assert_array_equal(theta, start)


def test_first_step_of_adam_is_the_rate_whatever_the_gradient():
    theta, decays, gradients, _ = problem()
    start = theta.copy()
    make("adam", decays, epsilon=1e-12).step(theta, gradients[0].copy(), 0.01)
    np.testing.assert_allclose(start - theta, 0.01 * np.sign(gradients[0]), rtol=1e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 2e-5)])
@pytest.mark.parametrize(("limit", "weight_decay"), [(0.0, 0.0), (0.01, 0.0), (0.01, 0.1)])
def test_levenberg_marquardt_has_a_rate_for_each_parameter(dtype, tolerance, limit, weight_decay):
    theta, decays, gradients, rates = problem(dtype)
    optimizer = make("levenberg-marquardt", decays, weight_decay, mu=0.05, step_limit=limit)
    curvature = optimizer.state["curvature"]
    curvature[:] = 10.0 ** np.linspace(-4, 3, SIZE)
    expected, steps = theta.astype(np.float64), []
    for gradient, rate in zip(gradients.astype(np.float64), rates, strict=True):
        step = rate / (0.05 + curvature) * (gradient + weight_decay * decays * expected)
        steps.append(np.clip(step, -limit, limit) if limit else step)
        expected = expected - steps[-1]
    assert limit == 0 or 0 < (abs(np.array(steps)) == limit).mean() < 1  # some are cut short
    found = run(optimizer, theta, gradients, rates)
    assert found is theta and found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * (1 + abs(expected).max()))


@ALL
def test_optimizer_descends(name):
    theta, decays, _, _ = problem()
    optimizer, start = make(name, decays), abs(theta).max()
    for _ in range(400):
        optimizer.step(theta, theta.copy(), 0.02)  # the gradient of |theta|^2 / 2
    assert abs(theta).max() < 0.05 * start


def test_an_unknown_optimizer_suggests_the_nearest():
    with pytest.raises(ConfigError, match="'nestrov' is unknown .did you mean 'nesterov'"):
        make("nestrov", np.ones(3))


@ALL
def test_the_average_follows_theta_and_leaves_it_alone(name):
    theta, decays, gradients, rates = problem()
    expected, alone, average = None, theta.copy(), make(name, decays, average=0.9, **SETTINGS)
    plain = make(name, decays, **SETTINGS)
    for step, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        average.step(theta, gradient.copy(), rate)
        plain.step(alone, gradient.copy(), rate)
        share = max(0.1, 1 / step)  # the plain mean of the first ten, exponential from there
        expected = theta.copy() if expected is None else (1 - share) * expected + share * theta
        np.testing.assert_allclose(average.state["average"], expected, rtol=1e-12)
    np.testing.assert_array_equal(theta, alone)
    assert set(average.state) == {*plain.state, "average"}


def test_ranks_can_agree_on_the_norm_that_is_clipped():
    theta, decays, gradients, _ = problem()
    gradient, start = gradients[0], theta.copy()
    optimizer = build_optimizer(Config(optimizer="sgd", weight_decay=0.0, clip=1.0), decays)
    optimizer.agree = lambda norm: 2 * norm
    optimizer.step(theta, gradient.copy(), 0.1)
    np.testing.assert_allclose(start - theta, 0.1 * gradient / (2 * np.linalg.norm(gradient)), atol=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-9), (np.float32, 1e-4)])
@pytest.mark.parametrize("shape", [(3, 7), (7, 3), (16, 150), (5, 5)])
def test_orthogonal_makes_the_singular_values_alike_and_keeps_the_directions(shape, dtype, tolerance):
    matrix = np.random.default_rng(0).normal(size=shape).astype(dtype)
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    assert values.min() > 0.01 * np.linalg.norm(matrix)
    found = left.T @ orthogonal(matrix) @ right.T
    assert orthogonal(matrix).dtype == dtype
    assert np.diag(found).min() > 0.18 and np.diag(found).max() < 1.9
    np.testing.assert_allclose(found, np.diag(np.diag(found)), rtol=0, atol=tolerance)
    np.testing.assert_allclose(orthogonal(1e5 * matrix), orthogonal(matrix), rtol=0, atol=1e-4)
    np.testing.assert_array_equal(orthogonal(0 * matrix), 0 * matrix)


def test_orthogonal_is_the_same_portably():
    matrix = np.random.default_rng(0).normal(size=(16, 150)).astype(np.float32)
    np.testing.assert_allclose(orthogonal(matrix, PORTABLE), orthogonal(matrix), rtol=0, atol=1e-3)


def muon(decays, **settings):
    config = Config(optimizer="muon", clip=0.0, momentum=0.8, **settings)
    return build_optimizer(config, decays, matrices=[(slice(0, 24), (8, 3)), (slice(30, 42), (3, 4))])


def test_muon_moves_a_matrix_by_an_orthogonal_one():
    theta, _, gradients, _ = problem()
    start, optimizer = theta.copy(), muon(np.ones(SIZE), weight_decay=0.5)
    optimizer.step(theta, gradients[0].copy(), 0.1)
    change = (0.95 * start - theta) / 0.1
    tall, wide = gradients[0][:24].reshape(8, 3), gradients[0][30:42].reshape(3, 4)
    np.testing.assert_allclose(change[:24].reshape(8, 3), (8 / 3) ** 0.5 * orthogonal(tall), rtol=0, atol=1e-3)
    np.testing.assert_allclose(change[30:42].reshape(3, 4), orthogonal(wide), rtol=0, atol=1e-3)
    np.testing.assert_allclose(change[42:], 1.8 * gradients[0][42:])  # Nesterov's first step


def test_ranks_can_share_the_step_of_muon():
    theta, _, gradients, _ = problem()
    start, optimizer = theta.copy(), muon(np.ones(SIZE), weight_decay=0.0)
    optimizer.share = lambda step: step.fill(2)
    optimizer.step(theta, gradients[0].copy(), 0.1)
    np.testing.assert_allclose(start - theta, np.full(SIZE, 0.2), rtol=1e-12)
