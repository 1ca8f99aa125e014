"""`torch.nn.utils` in graphflow: gradients held within bounds, parameters as one vector.

Policy: a face; the name is PyTorch's, and what it shows is defined in the modules below.

State: none.
"""

from graphflow.eager.nn.clipping import clip_grad_norm_, clip_grad_value_
from graphflow.eager.nn.flat import parameters_to_vector, vector_to_parameters

__all__ = ["clip_grad_norm_", "clip_grad_value_", "parameters_to_vector", "vector_to_parameters"]
