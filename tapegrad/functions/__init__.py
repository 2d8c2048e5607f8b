"""Array functions over tensors, with NumPy's names; `protocol` makes them methods of `Tensor` and known to NumPy."""

from typing import TYPE_CHECKING

from . import algebra as algebra
from . import (
    arranging,
    composed,
    constants,
    contractions,
    convolution,
    distances,
    editing,
    elementwise,
    formulas,
    gamma,
    gathering,
    indexing,
    layout,
    losses,
    normalization,
    pairs,
    pooling,
    protocol,
    pytorch,
    quantiles,
    random,
    reductions,
    scattering,
    searching,
    sorting,
    statistics,
    tongues,
    triangles,
    truth,
)
from .arranging import *  # noqa: F403
from .attention import rotary_embedding, scaled_dot_product_attention, sinusoidal_positions  # noqa: F401
from .composed import *  # noqa: F403
from .constants import *  # noqa: F403
from .contractions import *  # noqa: F403
from .convolution import *  # noqa: F403
from .distances import *  # noqa: F403
from .distances import pair_dots, pair_sums  # noqa: F401
from .dropout import *  # noqa: F403
from .dropout import __all__ as _dropout  # the function shadows its module, as the next one does
from .dropout import dropped  # noqa: F401
from .editing import *  # noqa: F403
from .elementwise import *  # noqa: F403
from .embedding import *  # noqa: F403
from .embedding import __all__ as _embedding
from .embedding import spread_bags  # noqa: F401
from .factorizations import determinants  # noqa: F401
from .formulas import *  # noqa: F403
from .gamma import *  # noqa: F403
from .gathering import *  # noqa: F403
from .gathering import gather_along, scatter_along  # noqa: F401
from .indexing import At, getitem, take  # noqa: F401
from .layout import *  # noqa: F403
from .linalg import *  # noqa: F403
from .linalg import __all__ as _linalg  # tg.linalg is `algebra`
from .losses import *  # noqa: F403
from .losses import target_rows  # noqa: F401
from .normalization import *  # noqa: F403
from .padding import pad  # noqa: F401
from .pairs import *  # noqa: F403
from .pooling import *  # noqa: F403
from .pytorch import *  # noqa: F403
from .quantiles import *  # noqa: F403
from .random import *  # noqa: F403
from .reductions import *  # noqa: F403
from .reductions import exclusive_prod, linear_recurrence  # noqa: F401
from .scattering import *  # noqa: F403
from .searching import *  # noqa: F403
from .sorting import *  # noqa: F403
from .spectra import eigenpairs, eigenvalues, orthogonal, pseudoinverse, singular, singular_values  # noqa: F401
from .statistics import *  # noqa: F403
from .triangles import *  # noqa: F403
from .truth import *  # noqa: F403

from .tongues import *  # noqa: F403 isort: skip  (in place of some of the above)

if not TYPE_CHECKING:  # type checkers follow the stars, and would take a computed list for an empty one
    _formulas = [name for name in vars(formulas) if not name.startswith("_")]
    __all__ = sorted({"pad", *arranging.__all__, *composed.__all__, *constants.__all__, *pytorch.__all__,
                      *contractions.__all__, *gamma.__all__,
                      *random.__all__, *convolution.__all__, *elementwise.__all__, *_formulas, *_dropout, *_embedding,
                      *layout.__all__, *indexing.__all__, *_linalg, *losses.__all__, *normalization.__all__,
                      *pooling.__all__, *reductions.__all__, *distances.__all__, *gathering.__all__, *sorting.__all__,
                      *pairs.__all__, *quantiles.__all__, *statistics.__all__, *editing.__all__, *searching.__all__,
                      *scattering.__all__,
                      *triangles.__all__, *tongues.__all__, *truth.__all__})

    protocol.install(globals(), __all__)
