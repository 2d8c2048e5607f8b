"""The worked examples of the lectures on reverse-mode differentiation, in the letters of the notes.

Each test states the formula of the notes, computes it in plain NumPy, and reads the same quantity off the
tape. An adjoint is read by the name that was given to the tensor: ``tape.adjoint("q")`` is dJ/dq for the J on
which `backward` was called.
"""


import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F


def variable(value, name):
    """A leaf of the graph with the letter that the notes give it."""
    return tg.tensor(np.asarray(value, dtype=np.float64), requires_grad=True).named(name)


def sigma(a):
    """The logistic function in NumPy."""
    return 1.0 / (1.0 + np.exp(-a))


# ------------------------------------------------------------------
# first graphs


def test_the_product_of_a_sum():
    """f = (x + y) z at (-2, 5, -4).

    q = x + y = 3, f = q z = -12; df/dq = z = -4, df/dz = q = 3, df/dx = df/dq * 1 = -4, df/dy = -4.
    """
    with tg.Tape() as tape:
        x, y, z = variable(-2, "x"), variable(5, "y"), variable(-4, "z")
        q = (x + y).named("q")
        f = (q * z).named("f")
    f.backward()
    assert tape.value("q") == 3
    assert tape.value("f") == -12
    assert tape.adjoint("q") == -4
    assert tape.adjoint("x") == -4
    assert tape.adjoint("y") == -4
    assert tape.adjoint("z") == 3


def test_a_sum_times_a_third_variable():
    """e = (a + b) d: with c = a + b, de/dc = d, de/da = de/db = d, de/dd = c."""
    a_, b_, d_ = 2.0, 1.0, 5.0
    with tg.Tape() as tape:
        a, b, d = variable(a_, "a"), variable(b_, "b"), variable(d_, "d")
        c = (a + b).named("c")
        e = c * d
    e.backward()
    assert tape.adjoint("c") == d_
    assert tape.adjoint("a") == d_
    assert tape.adjoint("b") == d_
    assert tape.adjoint("d") == a_ + b_


def test_two_paths_add_up():
    """e = (a + b)(b + 1): b reaches e by c = a + b and by d = b + 1.

    de/db = de/dc dc/db + de/dd dd/db = (b + 1) * 1 + (a + b) * 1 = 2 + 3 = 5 at a = 2, b = 1; de/da = b + 1 = 2.
    """
    with tg.Tape() as tape:
        a, b = variable(2, "a"), variable(1, "b")
        c = (a + b).named("c")
        d = (b + 1.0).named("d")
        e = c * d
    e.backward()
    assert e.item() == 6
    assert tape.adjoint("c") == 2
    assert tape.adjoint("d") == 3
    assert tape.adjoint("a") == 2
    assert tape.adjoint("b") == 5


# ------------------------------------------------------------------
# regression


def test_logistic_regression_gradient():
    """log-likelihood l = y log s + (1 - y) log(1 - s), s = sigma(w . x): dl/dw = (y - sigma(w . x)) x."""
    rng = np.random.default_rng(1)
    x, w_ = rng.normal(size=4), rng.normal(size=4)
    for y in (0.0, 1.0):
        with tg.Tape() as tape:
            w = variable(w_, "w")
            s = tg.sigmoid((w * x).sum())
            likelihood = y * tg.log(s) + (1.0 - y) * tg.log(1.0 - s)
        likelihood.backward()
        np.testing.assert_allclose(tape.adjoint("w"), (y - sigma(w_ @ x)) * x, rtol=1e-12)


def test_logistic_regression_by_sgd_separates_a_separable_set():
    """w <- w + eta (y - sigma(w . x)) x, one example at a time, until all signs are right."""
    rng = np.random.default_rng(2)
    w_true = np.array([2.0, -1.0, 0.5])
    x = rng.normal(size=(40, 3))
    x = x[np.abs(x @ w_true) > 0.3]
    y = (x @ w_true > 0).astype(np.float64)
    w = np.zeros(3)

    def likelihood(w, x, y):
        s = tg.sigmoid((w * x).sum())
        return y * tg.log(s) + (1.0 - y) * tg.log(1.0 - s)

    slope = tg.compile(tg.grad(likelihood))
    for _ in range(200):
        for k in range(len(x)):
            w = w + 0.5 * slope(w, x[k], y[k])
        if np.all((x @ w > 0) == (y == 1)):
            break
    assert np.all((x @ w > 0) == (y == 1)), "the set is separable, so SGD must end with all of it right"


def test_linear_regression():
    """yhat = w x + b, L = (yhat - y)^2: dL/dw = 2 (yhat - y) x, dL/db = 2 (yhat - y)."""
    x, y, w_, b_ = 1.5, 2.0, -0.5, 0.25
    with tg.Tape() as tape:
        w, b = variable(w_, "w"), variable(b_, "b")
        yhat = (w * x + b).named("yhat")
        loss = (yhat - y) ** 2
    loss.backward()
    error = 2 * (w_ * x + b_ - y)
    np.testing.assert_allclose(tape.adjoint("yhat"), error)
    np.testing.assert_allclose(tape.adjoint("w"), error * x)
    np.testing.assert_allclose(tape.adjoint("b"), error)


def test_two_layer_linear_network():
    """h = w1 x + b1, yhat = w2 h + b2, L = (yhat - y)^2.

    dL/dw2 = h 2(yhat - y), dL/db2 = 2(yhat - y), dL/dw1 = x 2(yhat - y) w2, dL/db1 = 2(yhat - y) w2.
    """
    x, y = 0.75, -1.0
    w1_, b1_, w2_, b2_ = 2.0, -0.5, 1.25, 0.3
    with tg.Tape() as tape:
        w1, b1, w2, b2 = variable(w1_, "w1"), variable(b1_, "b1"), variable(w2_, "w2"), variable(b2_, "b2")
        h = (w1 * x + b1).named("h")
        yhat = w2 * h + b2
        loss = (yhat - y) ** 2
    loss.backward()
    h_ = w1_ * x + b1_
    error = 2 * (w2_ * h_ + b2_ - y)
    np.testing.assert_allclose(tape.adjoint("w2"), h_ * error)
    np.testing.assert_allclose(tape.adjoint("b2"), error)
    np.testing.assert_allclose(tape.adjoint("h"), error * w2_)
    np.testing.assert_allclose(tape.adjoint("w1"), x * error * w2_)
    np.testing.assert_allclose(tape.adjoint("b1"), error * w2_)


# ------------------------------------------------------------------
# one hidden layer


def test_one_hidden_sigmoid_layer():
    """a = W1 x + b1, h = sigma(a), yhat = w2 . h + b2, L = (yhat - y)^2.

    The local errors are delta_j = dL/da_j = 2(yhat - y) w2_j h_j (1 - h_j); dL/dW1 = delta x^T (outer product),
    dL/db1 = delta.
    """
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=3), 0.7
    w1_, b1_, w2_, b2_ = rng.normal(size=(4, 3)), rng.normal(size=4), rng.normal(size=4), 0.1
    with tg.Tape() as tape:
        w1, b1, w2, b2 = variable(w1_, "W1"), variable(b1_, "b1"), variable(w2_, "w2"), variable(b2_, "b2")
        a = (w1 @ x + b1).named("a")
        h = tg.sigmoid(a).named("h")
        yhat = w2 @ h + b2
        loss = (yhat - y) ** 2
    loss.backward()
    h_ = sigma(w1_ @ x + b1_)
    error = 2 * (w2_ @ h_ + b2_ - y)
    delta = error * w2_ * h_ * (1 - h_)
    np.testing.assert_allclose(tape.adjoint("a"), delta, rtol=1e-12)
    np.testing.assert_allclose(tape.adjoint("W1"), np.outer(delta, x), rtol=1e-12)
    np.testing.assert_allclose(tape.adjoint("b1"), delta, rtol=1e-12)
    np.testing.assert_allclose(tape.adjoint("w2"), error * h_, rtol=1e-12)


def test_sigmoid_network_with_cross_entropy_every_partial():
    """A layer of sigmoid units, a sigmoid output, and J = y* log y + (1 - y*) log(1 - y).

    Forward:  a_j = sum_i alpha_ji x_i,  z_j = sigma(a_j),  b = sum_j beta_j z_j,  y = sigma(b).

    Reverse, each partial from the one before it:

    ==============  ===========================
    dJ/dy           y*/y + (1 - y*)/(y - 1)
    dJ/db           dJ/dy * y (1 - y)
    dJ/dbeta_j      dJ/db * z_j
    dJ/dz_j         dJ/db * beta_j
    dJ/da_j         dJ/dz_j * z_j (1 - z_j)
    dJ/dalpha_ji    dJ/da_j * x_i
    dJ/dx_i         sum_j dJ/da_j * alpha_ji
    ==============  ===========================
    """
    rng = np.random.default_rng(4)
    x_, alpha_, beta_, ystar = rng.normal(size=3), rng.normal(size=(2, 3)), rng.normal(size=2), 0.8
    with tg.Tape() as tape:
        x, alpha, beta = variable(x_, "x"), variable(alpha_, "alpha"), variable(beta_, "beta")
        a = (alpha @ x).named("a")
        z = tg.sigmoid(a).named("z")
        b = (beta @ z).named("b")
        y = tg.sigmoid(b).named("y")
        j = ystar * tg.log(y) + (1.0 - ystar) * tg.log(1.0 - y)
    j.backward()

    z_ = sigma(alpha_ @ x_)
    y_ = sigma(beta_ @ z_)
    np.testing.assert_allclose(tape.value("z"), z_, rtol=1e-14)
    np.testing.assert_allclose(tape.value("y"), y_, rtol=1e-14)

    dy = ystar / y_ + (1 - ystar) / (y_ - 1)
    db = dy * y_ * (1 - y_)
    dbeta = db * z_
    dz = db * beta_
    da = dz * z_ * (1 - z_)
    dalpha = da[:, None] * x_[None, :]
    dx = (da[:, None] * alpha_).sum(axis=0)
    expected = {"y": dy, "b": db, "beta": dbeta, "z": dz, "a": da, "alpha": dalpha, "x": dx}
    for name, partial in expected.items():
        np.testing.assert_allclose(tape.adjoint(name), partial, rtol=1e-11, err_msg=f"dJ/d{name}")


# ------------------------------------------------------------------
# three weight layers with softmax and cross-entropy


def three_layers(x, w, b):
    """The network of the notes: two sigmoid layers, a softmax layer; every quantity named."""
    z1 = (w[1] @ x + b[1]).named("z1")
    h1 = tg.sigmoid(z1).named("h1")
    z2 = (w[2] @ h1 + b[2]).named("z2")
    h2 = tg.sigmoid(z2).named("h2")
    z3 = (w[3] @ h2 + b[3]).named("z3")
    return F.softmax(z3, dim=0).named("p")


@pytest.fixture
def softmax_network():
    rng = np.random.default_rng(5)
    sizes = [3, 4, 3, 2]
    w_ = {k: rng.normal(size=(sizes[k], sizes[k - 1])) for k in (1, 2, 3)}
    b_ = {k: rng.normal(size=sizes[k]) for k in (1, 2, 3)}
    x, y = rng.normal(size=3), np.array([0.0, 1.0])
    with tg.Tape() as tape:
        w = {k: variable(w_[k], f"W{k}") for k in w_}
        b = {k: variable(b_[k], f"b{k}") for k in b_}
        p = three_layers(x, w, b)
        loss = -(tg.log(p) * y).sum()
    loss.backward()
    return tape, x, y, w_, b_


def test_softmax_with_cross_entropy_in_three_layers(softmax_network):
    """L = -sum_k y_k log p_k, p = softmax(z3).

    By the output units dL/dp_k = -y_k / p_k and dL/dz3 = p - y; by the hidden units dL/dh_l = W_{l+1}^T dL/dz_{l+1} and
    dL/dz_l = dL/dh_l * h_l (1 - h_l); by the weights dL/dW_l = dL/dz_l h_{l-1}^T; by the biases dL/db_l = dL/dz_l.
    """
    tape, x, y, w, b = softmax_network
    h1 = sigma(w[1] @ x + b[1])
    h2 = sigma(w[2] @ h1 + b[2])
    z3 = w[3] @ h2 + b[3]
    p = np.exp(z3) / np.exp(z3).sum()
    dz3 = p - y
    dh2 = w[3].T @ dz3
    dz2 = dh2 * h2 * (1 - h2)
    dh1 = w[2].T @ dz2
    dz1 = dh1 * h1 * (1 - h1)
    expected = {
        "p": -y / p,
        "z3": dz3,
        "h2": dh2,
        "z2": dz2,
        "h1": dh1,
        "z1": dz1,
        "W3": np.outer(dz3, h2),
        "W2": np.outer(dz2, h1),
        "W1": np.outer(dz1, x),
        "b3": dz3,
        "b2": dz2,
        "b1": dz1,
    }
    for name, partial in expected.items():
        np.testing.assert_allclose(tape.adjoint(name), partial, rtol=1e-10, atol=1e-14, err_msg=f"dL/d{name}")


def test_the_gradient_of_one_weight_is_the_product_of_the_factors_of_the_chain(softmax_network):
    """dL/dW_111 = (sum over the paths from h1_1 to L) * dh1_1/dz1_1 * dz1_1/dW_111.

    The factors, each read off the tape: dL/dz2 (adjoint), dz2_j/dh1_1 = W2_j1, dh1_1/dz1_1 = h1_1 (1 - h1_1) and
    dz1_1/dW_111 = x_1.
    """
    tape, x, *_ = softmax_network
    paths = sum(tape.adjoint("z2")[j] * tape.value("W2")[j, 0] for j in range(3))
    np.testing.assert_allclose(paths, tape.adjoint("h1")[0], rtol=1e-12)
    h = tape.value("h1")[0]
    local = h * (1 - h)
    np.testing.assert_allclose(tape.adjoint("W1")[0, 0], paths * local * x[0], rtol=1e-12)


def test_the_fused_cross_entropy_has_the_same_gradients_as_softmax_log_and_product(softmax_network):
    """F.cross_entropy(z3, y) is the same L in one op, with dL/dz3 = p - y."""
    tape, x, y, w_, b_ = softmax_network
    w1 = tg.tensor(w_[1], requires_grad=True)
    h1 = tg.sigmoid(w1 @ x + b_[1])
    h2 = tg.sigmoid(w_[2] @ h1 + b_[2])
    F.cross_entropy(w_[3] @ h2 + b_[3], np.array(1)).backward()
    np.testing.assert_allclose(w1.grad.numpy(), tape.adjoint("W1"), rtol=1e-10)


# ------------------------------------------------------------------
# batches


def test_mean_squared_error_of_a_batch():
    """Yhat = X W + b, L = mean((Yhat - Y)^2): with G = dL/dYhat = 2 (Yhat - Y) / size,

    dL/dW = X^T G, dL/db = sum of G over the batch, dL/dX = G W^T.
    """
    rng = np.random.default_rng(6)
    x_, w_, b_, y = rng.normal(size=(5, 3)), rng.normal(size=(3, 2)), rng.normal(size=2), rng.normal(size=(5, 2))
    with tg.Tape() as tape:
        x, w, b = variable(x_, "X"), variable(w_, "W"), variable(b_, "b")
        yhat = (x @ w + b).named("Yhat")
        loss = F.mse_loss(yhat, y)
    loss.backward()
    g = 2 * (x_ @ w_ + b_ - y) / y.size
    np.testing.assert_allclose(tape.adjoint("Yhat"), g, rtol=1e-12)
    np.testing.assert_allclose(tape.adjoint("W"), x_.T @ g, rtol=1e-12)
    np.testing.assert_allclose(tape.adjoint("b"), g.sum(axis=0), rtol=1e-12)
    np.testing.assert_allclose(tape.adjoint("X"), g @ w_.T, rtol=1e-12)


@pytest.mark.parametrize("with_sigmoid", [False, True])
def test_stacked_layers_in_batches(with_sigmoid):
    """Two layers H = f(X W1 + b1), Yhat = H W2 + b2, with f the identity or a sigmoid.

    dL/dH = G W2^T, dL/dA = dL/dH * f'(A), dL/dW1 = X^T dL/dA, dL/db1 = sum over the batch, dL/dX = dL/dA W1^T.
    """
    rng = np.random.default_rng(7)
    x_, y = rng.normal(size=(6, 3)), rng.normal(size=(6, 2))
    w1_, b1_, w2_, b2_ = rng.normal(size=(3, 4)), rng.normal(size=4), rng.normal(size=(4, 2)), rng.normal(size=2)
    with tg.Tape() as tape:
        x = variable(x_, "X")
        w1, b1, w2, b2 = variable(w1_, "W1"), variable(b1_, "b1"), variable(w2_, "W2"), variable(b2_, "b2")
        a = (x @ w1 + b1).named("A")
        h = (tg.sigmoid(a) if with_sigmoid else a).named("H")
        loss = F.mse_loss(h @ w2 + b2, y)
    loss.backward()
    a_ = x_ @ w1_ + b1_
    h_ = sigma(a_) if with_sigmoid else a_
    g = 2 * (h_ @ w2_ + b2_ - y) / y.size
    dh = g @ w2_.T
    da = dh * h_ * (1 - h_) if with_sigmoid else dh
    expected = {
        "H": dh,
        "A": da,
        "W2": h_.T @ g,
        "b2": g.sum(axis=0),
        "W1": x_.T @ da,
        "b1": da.sum(axis=0),
        "X": da @ w1_.T,
    }
    for name, partial in expected.items():
        np.testing.assert_allclose(tape.adjoint(name), partial, rtol=1e-11, atol=1e-15, err_msg=f"dL/d{name}")


# ------------------------------------------------------------------
# D layers of local errors


@pytest.mark.parametrize("depth", [2, 5, 20])
def test_local_errors_of_a_deep_network(depth):
    """a_k = W_k h_{k-1}, h_k = f(a_k) with f = tanh, J = sum of (h_D - y)^2 / 2.

    delta_D = f'(a_D) * (h_D - y);  delta_k = f'(a_k) * (W_{k+1}^T delta_{k+1});  dJ/dW_k = delta_k h_{k-1}^T.
    """
    rng = np.random.default_rng(8)
    width = 4
    w_ = [rng.normal(size=(width, width)) / np.sqrt(width) for _ in range(depth)]
    x, y = rng.normal(size=width), rng.normal(size=width)
    with tg.Tape() as tape:
        h = tg.tensor(x)
        for k in range(depth):
            a = (variable(w_[k], f"W{k}") @ h).named(f"a{k}")
            h = tg.tanh(a)
        j = ((h - y) ** 2).sum() / 2.0
    j.backward()

    h_ = [x]
    for k in range(depth):
        h_.append(np.tanh(w_[k] @ h_[k]))
    delta = (1 - h_[depth] ** 2) * (h_[depth] - y)
    for k in reversed(range(depth)):
        np.testing.assert_allclose(tape.adjoint(f"a{k}"), delta, rtol=1e-9, atol=1e-15, err_msg=f"delta_{k}")
        np.testing.assert_allclose(tape.adjoint(f"W{k}"), np.outer(delta, h_[k]), rtol=1e-9, atol=1e-15)
        if k:
            delta = (1 - h_[k] ** 2) * (w_[k].T @ delta)
