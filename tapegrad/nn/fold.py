"""im2col and col2im as layers."""

from __future__ import annotations

from ..functions.convolution import Extent
from ..functions.unfold import fold_columns, unfold_image
from ..tensor.tensor import Tensor
from .module import Module

__all__ = ["Fold", "Unfold"]


class Unfold(Module):
    """Every patch of an image as a column (im2col): from (N, C, H, W) to (N, C KH KW, L); see `nn.functional.unfold`.

    Parameters
    ----------
    kernel_size, dilation, padding, stride : int or (int, int)
    """

    def __init__(self, kernel_size: Extent, dilation: Extent = 1, padding: Extent = 0, stride: Extent = 1) -> None:
        super().__init__()
        self.kernel_size, self.dilation, self.padding, self.stride = kernel_size, dilation, padding, stride

    def forward(self, input: Tensor) -> Tensor:
        """The columns."""
        return unfold_image(type(self).__name__, input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        """PyTorch's."""
        return (f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, "
                f"stride={self.stride}")


class Fold(Unfold):
    """Columns summed to an image (col2im): from (N, C KH KW, L) to (N, C, *output_size); see `nn.functional.fold`.

    Parameters
    ----------
    output_size, kernel_size, dilation, padding, stride : int or (int, int)
    """

    def __init__(self, output_size: Extent, kernel_size: Extent, dilation: Extent = 1, padding: Extent = 0,
                 stride: Extent = 1) -> None:
        super().__init__(kernel_size, dilation, padding, stride)
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        """The image."""
        return fold_columns(type(self).__name__, input, self.output_size, self.kernel_size, self.dilation,
                            self.padding, self.stride)

    def extra_repr(self) -> str:
        """PyTorch's."""
        return f"output_size={self.output_size}, {super().extra_repr()}"
