"""Gradients from one end of float32's range to the other, for `record_range` and the tests."""

import numpy as np

#: of each parameter's element: the gradients of its first steps, each for five of them; then ordinary ones
MAGNITUDES = (1.0, 1e-30, 1e-20, 1e-10, 1e10, 1e18, 1.9e19, 1e20, 1e22, 1e30)
STEPS = 50


def gradients():
    """Shape (steps, elements), float32."""
    generator = np.random.default_rng(5)
    ordinary = generator.uniform(0.5, 1.5, (STEPS, 2 * len(MAGNITUDES))) * generator.choice((-1.0, 1.0), (STEPS, 1))
    scale = np.ones_like(ordinary)
    scale[3, :len(MAGNITUDES)] = MAGNITUDES  # one step alone
    scale[3:8, len(MAGNITUDES):] = MAGNITUDES  # five
    return (ordinary * scale).astype(np.float32)


def start():
    return np.linspace(-1.0, 1.0, 2 * len(MAGNITUDES), dtype=np.float32)
