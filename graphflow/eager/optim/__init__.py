"""`torch.optim` in graphflow: optimisers, and `lr_scheduler`.

Policy: a face; what it shows is defined in the modules below.

State: none.
"""

from graphflow.eager.optim import lr_scheduler
from graphflow.eager.optim.lbfgs import LBFGS
from graphflow.eager.optim.optimizer import Optimizer
from graphflow.eager.optim.rules import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, RAdam, RMSprop, Rprop

__all__ = [
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "lr_scheduler",
]


def __dir__() -> list[str]:
    return list(__all__)
