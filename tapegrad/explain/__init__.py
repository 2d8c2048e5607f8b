"""What is shown of a computation: its values, local derivatives and adjoints, as text, picture and page."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..program import TrainStep
from ..program.running.communication import Communication
from ..tape.tape import Tape
from ..tensor.tensor import Tensor
from .communication import plot

if TYPE_CHECKING:
    from .explanation import Explanation

__all__ = ["explain"]


def explain(target: Callable | Tensor | str, *args: Any, **kwargs: Any) -> Explanation:
    """Explain a computation: each node with its value, its formula, its local derivatives and its adjoint.

    Parameters
    ----------
    target : callable, Tensor or str
        A function, which is called with the arguments; a recorded tensor, such as a loss before `backward`; or an
        expression such as ``"(x + y) * z"``, whose variables are keyword arguments.
    *args, **kwargs
        Of the function: floats and arrays of floats are differentiated, integers and booleans in arrays are data. What
        the function returns, one tensor, may have several elements: adjoints are then those of their sum.

    Returns
    -------
    Explanation
        Prints as a table; see its methods. Gradients, running statistics and the random streams stay as they were.

    Raises
    ------
    ArgumentError
        The function does not return one tensor.
    GradientError
        Of a recorded tensor, something that it was computed from was not kept.

    Examples
    --------
    >>> import tapegrad as tg
    >>> print(tg.explain("(x + y) * z", x=-2, y=5, z=-4))
    #  node        value  formula    local derivatives          adjoint df/d.
    0  x              -2  input                                            -4
    1  y               5  input                                            -4
    2  z              -4  input                                             3
    3  q = x + y       3  q = x + y  dq/dx = 1   dq/dy = 1                 -4
    4  f = q * z     -12  f = q z    df/dq = -4   df/dz = 3                 1
    """
    from .explanation import Explanation

    return Explanation.of(target, args, kwargs)


def _of_step(self: TrainStep, *arrays: Any) -> Explanation:
    """Explain the loss of a batch; parameters, gradients and the optimiser stay as they are."""
    return explain(self, *arrays)


def _of_tape(self: Tape, output: Tensor | str | None = None) -> Explanation:
    """Explain a tensor on the tape, or the one with a name; by default the result of its last instruction."""
    from .replay import last_result

    return explain(last_result(self) if output is None else self._named(output))


setattr(TrainStep, "explain", _of_step)
setattr(Tape, "explain", _of_tape)
setattr(Communication, "plot", plot)
