"""`tf.random`: the random ops under their shorter names."""

from graphflow.ops.random import categorical as categorical
from graphflow.ops.random import multinomial as multinomial
from graphflow.ops.random import random_crop as crop
from graphflow.ops.random import random_gamma as gamma
from graphflow.ops.random import random_normal as normal
from graphflow.ops.random import random_poisson as poisson
from graphflow.ops.random import random_shuffle as shuffle
from graphflow.ops.random import random_uniform as uniform
from graphflow.ops.random import set_random_seed as set_random_seed
from graphflow.ops.random import truncated_normal as truncated_normal

__all__ = [
    "categorical",
    "crop",
    "gamma",
    "multinomial",
    "normal",
    "poisson",
    "set_random_seed",
    "shuffle",
    "truncated_normal",
    "uniform",
]
