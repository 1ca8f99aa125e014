"""`torch.optim` in graphflow: optimisers, and `lr_scheduler`.

Policy: a face; what it shows is defined in the modules below.

State: none.
"""

from graphflow.eager.optim import lr_scheduler
from graphflow.eager.optim.optimizer import Optimizer
from graphflow.eager.optim.rules import SGD, Adagrad, Adam, AdamW, RMSprop

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop", "lr_scheduler"]
