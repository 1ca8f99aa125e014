"""What a user sees first: names and what help says of them, `import *`, arguments that are not ignored."""

from __future__ import annotations

import builtins
import inspect
import types
from typing import Any

import numpy as np
import pytest

import graphflow as gf
from graphflow import eager as torch
from graphflow.eager import nn, optim, utils
from graphflow.eager.nn import functional, init
from graphflow.eager.optim import lr_scheduler
from graphflow.eager.tensor import EagerTensor
from graphflow.eager.utils import data
from graphflow.errors import FailedPreconditionError, InvalidArgumentError, OutOfRangeError

FACES = [torch, nn, functional, init, optim, lr_scheduler, utils, data, torch.linalg, torch.testing, nn.utils]
MODULES = {"autograd", "data", "functional", "init", "linalg", "lr_scheduler", "nn", "optim", "testing", "utils"}


@pytest.mark.parametrize("face", FACES, ids=lambda face: face.__name__)
def test_every_name_is_meant_for_users(face: Any) -> None:
    assert {name for name in dir(face) if name[:2] != "__"} == set(face.__all__)
    for name in face.__all__:
        found = getattr(face, name)
        if isinstance(found, types.ModuleType):
            assert name in MODULES, name
            continue
        assert not name.startswith("_"), name
        if callable(found):
            told = inspect.getdoc(found)
            assert told and told != inspect.getdoc(type(found)), f"{name} says nothing of itself"
            assert " at 0x" not in str(inspect.signature(found)), name


def test_every_method_is_described() -> None:
    found = {name: inspect.getattr_static(EagerTensor, name) for name in dir(EagerTensor) if name[0] != "_"}
    kinds = (types.FunctionType, property)
    silent = [name for name, method in found.items() if isinstance(method, kinds) and not inspect.getdoc(method)]
    assert silent == []


def test_import_star_brings_what_it_brings_in_pytorch() -> None:
    names: dict[str, Any] = {}
    exec("from graphflow.eager import *", names)
    found = {name for name in names if not name.startswith("_")}
    assert {"tensor", "nn", "optim", "float32", "no_grad", "sum", "layer_norm"} <= found
    hidden = {name for name in found if hasattr(builtins, name)}  # PyTorch's, and the three dtypes
    assert hidden == {
        "abs", "all", "any", "bool", "complex", "float", "int", "max", "min", "pow", "round", "sum",
    }  # fmt: skip
    assert {name for name in found if isinstance(names[name], types.ModuleType)} <= MODULES


def test_names_of_functions_are_those_that_users_call() -> None:
    assert [f.__name__ for f in (torch.sum, torch.max, torch.round, torch.zeros, torch.rand, torch.complex)] == [
        "sum", "max", "round", "zeros", "rand", "complex",
    ]  # fmt: skip
    assert torch.clip.__name__ == "clamp" and torch.linalg.inv.__name__ == "inv"


OWN_NAMES = (
    "_state", "_tensor", "_named", "_hooks", "_version", "_called", "_listed", "_passing", "_replace", "_cache",
    "_names", "_key", "_step", "_dtype", "_device", "_shape", "_size", "_values", "_config", "_forward", "_call",
)  # fmt: skip


def test_a_module_may_have_attributes_of_any_name() -> None:
    class Mine(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name in OWN_NAMES:
                setattr(self, name, None)
            self.layer = nn.Linear(2, 3)
            self.register_buffer("seen", torch.zeros(1), persistent=False)

        def forward(self, x: Any) -> Any:
            return self.layer(x)

    model = Mine()
    x = torch.ones(1, 2)
    model.register_forward_hook(lambda module, given, made: made * 2)
    assert model(x).tolist() == (model.layer(x) * 2).tolist() == gf.function(model)(x).tolist()
    assert list(model.state_dict()) == ["layer.weight", "layer.bias"] and "(layer): Linear" in repr(model)
    model.load_state_dict(model.state_dict())
    assert all(getattr(model, name) is None for name in OWN_NAMES)


# -- arguments that are not ignored ----------------------------------------------------------------------------------

X = np.arange(6).reshape(2, 3)


def test_a_part_lies_within_the_dimension() -> None:
    x = torch.tensor(X)
    assert x.narrow(1, -2, 2).tolist() == [[1, 2], [4, 5]] and torch.narrow(x, 0, torch.tensor(1), 1).tolist() == [
        [3, 4, 5]
    ]
    assert x.narrow(1, 3, 0).shape == (2, 0)
    assert gf.function(lambda x: x.narrow(1, -2, 2))(x).tolist() == [[1, 2], [4, 5]]
    for dim, start, length in ((1, 2, 5), (0, 5, 9), (1, 0, -1), (1, -4, 1)):
        with pytest.raises(OutOfRangeError, match="narrow"):
            x.narrow(dim, start, length)


def test_numbers_of_classes() -> None:
    one_hot = functional.one_hot
    assert one_hot(torch.tensor([2, 0])).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert one_hot(torch.tensor([], dtype=torch.int64), 3).shape == (0, 3)
    for numbers, classes in (([5], 3), ([-1], 3), ([-1], -1), ([1], 0), ([1], -2)):
        with pytest.raises(OutOfRangeError, match="one_hot"):
            one_hot(torch.tensor(numbers), classes)
    with pytest.raises(OutOfRangeError, match="tell no num_classes"):
        one_hot(torch.tensor([], dtype=torch.int64))


DRAWS: list[tuple[Any, tuple[Any, ...]]] = [
    (torch.rand, (3,)), (torch.randn, (3,)), (torch.randint, (9, (3,))), (torch.randperm, (3,)),
    (torch.normal, (0.0, 1.0, (3,))),
]  # fmt: skip
MADE: list[tuple[Any, tuple[Any, ...]]] = [
    (torch.zeros, (3,)), (torch.full, ((3,), 2.0)), (torch.arange, (3,)), (torch.linspace, (0, 1, 3)),
    (torch.eye, (3,)), (torch.cat, ([torch.ones(3), torch.ones(3)],)),
]  # fmt: skip


@pytest.mark.parametrize(("function", "arguments"), [*DRAWS, *MADE])
def test_a_result_goes_where_it_is_asked_to_go(function: Any, arguments: Any) -> None:
    torch.manual_seed(1)
    wanted = function(*arguments)
    torch.manual_seed(1)
    out = torch.empty(wanted.shape, dtype=wanted.dtype) - 7
    assert function(*arguments, out=out) is out and out.tolist() == wanted.tolist()


@pytest.mark.parametrize(("function", "arguments"), DRAWS)
def test_a_generator_is_drawn_from(function: Any, arguments: Any) -> None:
    def drawn() -> Any:
        return function(*arguments, generator=torch.Generator().manual_seed(3)).tolist()

    assert drawn() == drawn()
    stream = torch.Generator().manual_seed(3)
    first = function(*arguments, generator=stream).tolist()
    assert first == drawn() and not np.array_equal(
        stream.get_state().numpy(), torch.Generator().manual_seed(3).get_state().numpy()
    )


def test_several_results_go_to_several_tensors() -> None:
    x = torch.tensor([2.0, 1.0])
    values, places = torch.empty(2), torch.empty(2).long()
    torch.sort(x, out=(values, places))
    assert values.tolist() == [1, 2] and places.tolist() == [1, 0]
    for function, out in ((torch.sort, values), (torch.exp, (values,)), (torch.sort, (values,))):
        with pytest.raises(InvalidArgumentError, match="a tensor for each result"):
            function(x, out=out)
    with pytest.raises(FailedPreconditionError, match="out= takes an eager tensor"):
        torch.exp(x, out=3)


def test_arrays_of_other_kinds_share_their_memory(tmp_path: Any) -> None:
    stored = np.memmap(tmp_path / "numbers", np.float32, "w+", shape=(3,))
    for array in (stored, np.ma.masked_array(np.zeros(3, np.float32))):
        for make in (torch.from_numpy, torch.as_tensor):
            array[...] = 0
            x = make(array)
            x.add_(1.0)
            x[..., 0] = 5.0
            assert np.asarray(array).ravel().tolist() == [5, 1, 1]
    stored.flush()
    assert np.fromfile(tmp_path / "numbers", np.float32).tolist() == [5, 1, 1]


def test_eager_tensors_where_a_graph_is_built_are_refused_with_the_remedy() -> None:
    with pytest.raises(gf.errors.GraphError, match=r"with gf\.eager"):
        gf.one_hot(torch.tensor([1]), 3)
    with gf.eager():
        assert gf.one_hot(torch.tensor([1]), 3).tolist() == [[0, 1, 0]]
    with gf.Graph().as_default(), pytest.raises(gf.errors.GraphError, match=r"tf.constant\(x.numpy") as told:
        gf.one_hot(torch.tensor([1]), 3)
    assert "gf.eager" not in str(told.value)
