"""Reference implementations in plain NumPy: slow, obvious, and sharing nothing with tapegrad.

* `functions`: every function, forward, written from its formula (``sigmoid``, ``gelu``, ``cross_entropy``), and
  derivatives by central differences (`derivative`, `directional_derivative`);
* `tape`: a reverse-mode tape in plain Python (`Var`);
* `array_functions` (of `elementwise_functions`, `layout_functions`, `product_functions`) and `layer_functions`: the
  functions of that tape under tapegrad's names, so that one text of a program runs on either;
* `random_words`: the random numbers of dropout.
"""

from . import array_functions as TapeFunctions
from .functions import *  # noqa: F403
from .functions import SELU_ALPHA, SELU_SCALE
from .tape import Run, Var, as_var, unbroadcast

__all__ = ["Run", "SELU_ALPHA", "SELU_SCALE", "TapeFunctions", "Var", "as_var", "unbroadcast"]
