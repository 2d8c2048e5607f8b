"""L-BFGS through SciPy, on functions whose minimum is known."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import optim


def rosenbrock(dtype="float64", **arguments):
    x = tg.tensor(np.array([-1.2], dtype), requires_grad=True)
    y = tg.tensor(np.array(1.0, dtype), requires_grad=True)
    optimizer = optim.LBFGS([x, y], **arguments)
    calls = []

    def closure():
        optimizer.zero_grad()
        a, b = float(x.numpy()[0]), float(y.numpy())
        calls.append((a, b))
        x.grad = [-2 * (1 - a) - 400 * a * (b - a * a)]
        y.grad = 200 * (b - a * a)
        return (1 - a) ** 2 + 100 * (b - a * a) ** 2

    return x, y, optimizer, closure, calls


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-6), ("float32", 1e-2)])
def test_the_minimum_of_rosenbrocks_function_is_found(dtype, tolerance):
    x, y, optimizer, closure, calls = rosenbrock(dtype, max_iter=100)
    first = optimizer.step(closure)
    assert first == pytest.approx(24.2, rel=1e-5)
    np.testing.assert_allclose([x.item(), y.item()], 1.0, atol=tolerance)
    assert len(calls) == optimizer.func_evals


def test_iterations_and_evaluations_are_bounded():
    _, _, optimizer, closure, calls = rosenbrock(max_iter=3, max_eval=20)
    optimizer.step(closure)
    assert optimizer.n_iter == 3
    _, _, optimizer, closure, calls = rosenbrock(max_iter=50, max_eval=5)
    optimizer.step(closure)
    assert 5 <= len(calls) < 15


def test_parameters_without_gradient_stay():
    x = tg.tensor(np.array([3.0]), requires_grad=True)
    idle = tg.tensor(np.array([7.0]), requires_grad=True)
    optimizer = optim.LBFGS([x, idle])

    def closure():
        x.grad = 2.0 * x.numpy()
        return float(x.numpy()[0] ** 2)

    optimizer.step(closure)
    assert abs(x.item()) < 1e-6 and idle.item() == 7.0


def test_linear_least_squares_end_at_numpys_solution():
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=(30, 6)), rng.normal(size=30)
    w = tg.tensor(np.zeros(6), requires_grad=True)
    optimizer = optim.LBFGS([w], max_iter=100, tolerance_change=1e-16, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        residual = tg.matmul(tg.tensor(a), w) - tg.tensor(b)
        loss = (residual * residual).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    np.testing.assert_allclose(w.numpy(), np.linalg.lstsq(a, b, rcond=None)[0], atol=1e-6)


def test_state_dict_keeps_the_counts():
    _, _, optimizer, closure, calls = rosenbrock(max_iter=3, max_eval=20)
    optimizer.step(closure)
    other = rosenbrock()[2]
    other.load_state_dict(optimizer.state_dict())
    assert (other.n_iter, other.func_evals) == (3, len(calls))
    assert other.param_groups[0]["max_iter"] == 3


def test_what_it_cannot_do_is_said():
    w = tg.tensor(np.ones(2), requires_grad=True)
    optimizer = optim.LBFGS([w])
    with pytest.raises(ValueError, match="closure"):
        optimizer.step()
    with pytest.raises(RuntimeError, match="backward"):
        optimizer.step(lambda: 1.0)
    with pytest.raises(tg.CaptureError, match="recorded step"):
        optimizer.update_rows()
    with pytest.raises(ValueError, match="one parameter group"):
        optim.LBFGS([{"params": [w]}, {"params": [tg.tensor(np.ones(1), requires_grad=True)]}])
    with pytest.warns(UserWarning, match="does not use lr"):
        optim.LBFGS([w], lr=0.5)
