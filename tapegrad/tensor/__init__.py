"""The `Tensor`, and how an op on tensors runs and joins the tape."""
