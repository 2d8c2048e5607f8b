"""The compiled side: it knows arrays and integers, never a Tensor."""
