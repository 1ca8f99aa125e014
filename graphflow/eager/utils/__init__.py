"""`torch.utils` in graphflow: `data`.

Policy: a face; the name is PyTorch's, and nothing else belongs here.

State: none.
"""

from graphflow.eager.utils import data

__all__ = ["data"]


def __dir__() -> list[str]:
    return list(__all__)
