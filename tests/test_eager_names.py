"""Names that programs in PyTorch's spelling reach for: answers, gradients, traces, refusals, random streams, files."""

from __future__ import annotations

import io
import json
import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphflow import checkpoint
from graphflow import eager as torch
from graphflow.errors import DataLossError, DTypeError, Error, InvalidArgumentError, UnavailableError
from tests.eager_names import ANSWERS, CHANGE_LINES, EXPRESSIONS, answer, inputs, plain

WANTED: dict[str, Any] = json.loads(ANSWERS.read_text())
# What a traced function refuses: where elements lie, shapes that change in place, what Python has to know at once.
NOT_TRACED = (
    "a.stride()", "a.t().stride()", "a[1:].storage_offset()", "torch.equal(v,v)", "torch.polygamma(1,v.abs()+1)",
    "torch.mul(torch.ones(3),2,out=torch.empty(0))", "torch.arange(3).unsqueeze_(0)", "torch.ones(1,3,1).squeeze_(0)",
    "torch.max(z.reshape(1,5),1,out=(torch.empty(1),torch.empty(1).long()))", "torch.arange(6).view(2,3).t_()",
    "torch.arange(6).view(1,2,3).transpose_(0,2)",
)  # fmt: skip
TRACED_DIFFERENTLY = ("a.t().is_contiguous()",)  # in a graph every tensor counts as contiguous


def agree(found: Any, wanted: Any) -> bool:
    """Equal; floating-point numbers up to what float32 makes of sums and decompositions in another order."""
    if isinstance(wanted, list):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(agree, found, wanted))
    if isinstance(wanted, float):
        return bool(np.isclose(found, wanted, rtol=5e-5, atol=2e-5, equal_nan=True))
    return type(found) is type(wanted) and bool(found == wanted)


def as_json(x: Any) -> Any:
    """As it comes back from a file."""
    return json.loads(json.dumps(x))


@pytest.mark.parametrize("row", [*EXPRESSIONS, *CHANGE_LINES])
def test_values_and_gradients_are_those_of_pytorch(row: str) -> None:
    found = as_json(answer(torch, row))
    assert agree(found, WANTED[row]), (found, WANTED[row])


def traced_and_at_once(row: str) -> tuple[Any, Any]:
    """What a row answers in a traced function, and at once."""
    names = {name: x if name == "torch" else x.detach() for name, x in inputs(torch)[0].items()}
    at_once = plain(eval(row, dict(names)))
    keys = [name for name in names if name != "torch"]

    def program(*values: Any) -> Any:
        return eval(row, {"torch": torch, **dict(zip(keys, values, strict=True))})

    import graphflow as gf

    return as_json(plain(gf.function(program)(*[names[key] for key in keys]))), as_json(at_once)


@pytest.mark.parametrize("row", [row for row in EXPRESSIONS if row not in TRACED_DIFFERENTLY])
def test_a_traced_function_answers_the_same(row: str) -> None:
    if row in NOT_TRACED:
        with pytest.raises(Error):
            traced_and_at_once(row)
    else:
        found, wanted = traced_and_at_once(row)
        assert agree(found, wanted), (found, wanted)


REFUSED = """
torch.vstack(a)
torch.hstack([])
torch.tensor_split(a,0)
torch.hsplit(a,2)
torch.vsplit(v,2)
torch.dsplit(a,1)
a.select(3,0)
a.select(0,9)
v.unfold(0,9,1)
torch.unflatten(v,0,(3,2))
torch.movedim(a,(0,1),(0,))
torch.rot90(a,1,(0,0))
torch.fliplr(v)
torch.broadcast_shapes((2,),(3,))
torch.diagonal(v)
torch.diag(w)
torch.combinations(a)
torch.scatter(a,1,torch.tensor([[9]]),1.)
torch.scatter(a,1,torch.tensor([0]),1.)
torch.scatter(a,1,torch.tensor([[.5]]),1.)
torch.scatter(a,1,k,a.double())
torch.scatter_add(a,0,torch.zeros(4,9).long(),a)
a.scatter_reduce(1,k,a,'median')
torch.index_add(a,0,torch.tensor([9]),a[:1])
torch.index_select(a,0,torch.tensor([9]))
torch.gather(a,1,torch.tensor([[9]]))
torch.take(a,torch.tensor([99]))
torch.masked_scatter(a,a>-99,v)
torch.bincount(v)
torch.bincount(torch.tensor([-1]))
torch.histc(i)
torch.searchsorted(v,v,side='middle')
torch.kthvalue(a,9)
torch.quantile(a,.5,interpolation='guess')
torch.quantile(i,.5)
torch.quantile(a,1.5)
torch.block_diag(w)
torch.addmm(v,v,v)
torch.baddbmm(w,w,w)
torch.linalg.inv(a)
torch.linalg.inv(torch.zeros(2,2))
torch.linalg.cholesky(-torch.eye(2))
torch.linalg.solve(s,torch.ones(3))
torch.linalg.qr(v)
torch.linalg.qr(s,mode='full')
torch.linalg.matrix_norm(s,3)
torch.linalg.eigh(s,'X')
torch.linalg.norm(i)
torch.cdist(a,v[None])
torch.multinomial(torch.tensor([1.,0.]),2)
torch.multinomial(torch.tensor([-1.,1.]),1)
torch.multinomial(i,1)
torch.multinomial(torch.zeros(3),1,True)
torch.finfo(torch.int32)
torch.iinfo(torch.float32)
torch.is_nonzero(a)
torch.cov(w)
torch.set_default_dtype(torch.int64)
torch.repeat_interleave(v,-1)
torch.set_printoptions(profile='wide')
a.sum_to_size(2,5)
torch.rand(3,generator=1)
torch.vdot(a,a)
torch.tril(v)
torch.meshgrid(a,v)
torch.cartesian_prod(a,v)
torch.bucketize(v,a)
torch.trapz(v,v[:2])
torch.renorm(v,2,0,1.)
torch.cross(v,v)
torch.cdist(v,v)
torch.tensor(1.).tensor_split(2)
torch.tensor(1.).split(1)
torch.tensor(1.).unflatten(0,(1,1))
torch.logaddexp(v,v[:3])
torch.device('cpu:x')
torch.device('')
torch.set_default_device('cuda')
torch.zeros(2,device='cuda')
torch.cuda.synchronize()
torch.set_float32_matmul_precision('low')
torch.testing.assert_close(a,a,rtol=1.)
torch.add(a,a,out=torch.empty(4,5))
torch.add(i,i,out=torch.empty(3))
torch.mul(i,1.5,out=torch.empty(4).long())
(a*1).unsqueeze_(0)
a.t_()
torch.Generator().manual_seed('x')
"""


@pytest.mark.parametrize("row", [line for line in REFUSED.splitlines() if line])
def test_misuse_is_refused_with_a_typed_error(row: str) -> None:
    with pytest.raises(Error):
        eval(row, inputs(torch)[0])


# -- random numbers --------------------------------------------------------------------------------------------------

DRAWS = {
    "rand": lambda g: torch.rand(3, 4, generator=g),
    "randn": lambda g: torch.randn(5, generator=g),
    "randint": lambda g: torch.randint(0, 9, (6,), generator=g),
    "randperm": lambda g: torch.randperm(7, generator=g),
    "normal": lambda g: torch.normal(1.0, 2.0, (3,), generator=g),
    "bernoulli": lambda g: torch.bernoulli(torch.full((9,), 0.5), generator=g),
    "poisson": lambda g: torch.poisson(torch.full((9,), 3.0), generator=g),
    "multinomial": lambda g: torch.multinomial(torch.ones(9), 9, generator=g),
    "replaced": lambda g: torch.multinomial(torch.ones(9), 9, replacement=True, generator=g),
    "uniform_": lambda g: torch.zeros(4).uniform_(-1, 1, generator=g),
    "normal_": lambda g: torch.zeros(4).normal_(generator=g),
    "exponential_": lambda g: torch.zeros(4).exponential_(generator=g),
    "bernoulli_": lambda g: torch.zeros(9).bernoulli_(0.5, generator=g),
}


@pytest.mark.parametrize("name", DRAWS)
def test_a_generator_draws_what_its_seed_says_and_disturbs_nobody(name: str) -> None:
    draw = DRAWS[name]
    torch.manual_seed(11)
    wanted = [draw(None).tolist(), draw(None).tolist()]
    torch.manual_seed(12)
    before = torch.rand(2).tolist()
    torch.manual_seed(12)
    generator = torch.Generator().manual_seed(11)
    found = [draw(generator).tolist(), draw(generator).tolist()]
    assert found == wanted
    assert found[0] != found[1]
    assert torch.rand(2).tolist() == before


def test_states_of_generators_and_of_the_stream_are_taken_and_given_back() -> None:
    generator = torch.Generator().manual_seed(3)
    torch.rand(2, generator=generator)
    state = generator.get_state()
    wanted = torch.rand(2, generator=generator).tolist()
    assert torch.rand(2, generator=generator.set_state(state)).tolist() == wanted
    torch.manual_seed(5)
    torch.rand(3)
    state = torch.get_rng_state()
    wanted = torch.rand(3).tolist()
    torch.set_rng_state(state)
    assert torch.rand(3).tolist() == wanted
    assert torch.Generator().manual_seed(9).initial_seed() == 9
    with pytest.raises(InvalidArgumentError, match="state"):
        torch.set_rng_state(torch.zeros(2))


def test_a_generator_draws_the_same_beside_other_threads() -> None:
    wanted = torch.rand(1000, generator=torch.Generator().manual_seed(4)).tolist()
    stop = threading.Event()

    def disturb() -> None:
        while not stop.is_set():
            torch.rand(3)

    other = threading.Thread(target=disturb)
    other.start()
    try:
        generator = torch.Generator().manual_seed(4)
        found = torch.rand(1000, generator=generator).tolist()
    finally:
        stop.set()
        other.join()
    assert found == wanted


def test_choices_follow_their_weights() -> None:
    torch.manual_seed(0)
    weights = torch.tensor([[0.0, 1.0, 0.0, 3.0], [1.0, 1.0, 1.0, 1.0]])
    rows = torch.multinomial(weights, 2).tolist()
    assert sorted(rows[0]) == [1, 3]
    assert len(set(rows[1])) == 2
    first = torch.multinomial(weights[0].expand(4000, 4), 1)
    assert abs((first == 3).float().mean().item() - 0.75) < 0.04  # five standard deviations, of one seed
    assert torch.zeros(4000).exponential_(2.0).mean().item() == pytest.approx(0.5, abs=0.05)
    assert torch.poisson(torch.full((4000,), 3.0)).mean().item() == pytest.approx(3.0, abs=0.15)


def test_draws_in_the_shape_of_another_tensor() -> None:
    like = torch.zeros(2, 3, dtype=torch.float64)
    assert torch.rand_like(like).dtype is torch.float64
    found = torch.randint_like(like, 2, 5)
    assert found.dtype is torch.float64
    assert set(found.flatten().tolist()) <= {2.0, 3.0, 4.0}


# -- defaults, dtypes, printing --------------------------------------------------------------------------------------


def test_the_default_dtype_is_that_of_fractions() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.get_default_dtype() is torch.float64
        made = [torch.tensor(1.5), torch.zeros(2), torch.rand(2), torch.arange(0, 1, 0.5), torch.linspace(0, 1, 3),
                torch.eye(2), torch.tensor([1, 2]) * 1.5, torch.tensor([1, 2]) / 2, torch.full((2,), 0.5),
                torch.tensor([1, 2]).sqrt(), torch.nn.Linear(2, 3).weight]  # fmt: skip
        assert [x.dtype.name for x in made] == ["float64"] * len(made)
        assert torch.tensor(0.1).item() == 0.1
        assert torch.tensor(1 + 2j).dtype is torch.complex128
        assert torch.tensor(np.float32(1.5)).dtype is torch.float32
        assert str(torch.tensor([0.5])) == "tensor([0.5000])"
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.tensor(1.5).dtype is torch.float32


def test_older_words_for_tensors() -> None:
    x = torch.FloatTensor([1, 2])
    assert x.dtype is torch.float32
    assert isinstance(x, torch.FloatTensor)
    assert not isinstance(x, torch.LongTensor)
    assert torch.LongTensor([1.7]).tolist() == [1]
    assert torch.FloatTensor(2, 3).shape == (2, 3)
    assert torch.ByteTensor(np.array([1, 2])).dtype is torch.uint8


SHOWN = {
    "tensor([nan, 1., inf])": lambda: torch.tensor([math.nan, 1.0, math.inf]),
    "tensor([], size=(2, 0))": lambda: torch.zeros(2, 0),
    "tensor([   0,    1,    2,  ..., 1997, 1998, 1999])": lambda: torch.arange(2000),
    "tensor([1.0000e-05, 1.0000e+00])": lambda: torch.tensor([1e-5, 1.0]),
    "tensor([[[1., 2.],\n         [3., 4.]]])": lambda: torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]),
    "tensor([0.0000e+00, 1.0000e+00, 2.0000e+00,  ..., 1.9970e+03, 1.9980e+03,\n        1.9990e+03])": (
        lambda: torch.arange(2000.0)
    ),
    "tensor([  0.2500,  -0.5000, 100.2500])": lambda: torch.tensor([0.25, -0.5, 100.25]),
    "tensor([1.+2.j, -0.-1.j])": lambda: torch.tensor([1 + 2j, -1j]),
}


@pytest.mark.parametrize("text", SHOWN)
def test_tensors_are_shown_as_in_pytorch(text: str) -> None:
    assert str(SHOWN[text]()) == text


def test_options_of_printing() -> None:
    x = torch.tensor([1.23456, 2.0])
    try:
        torch.set_printoptions(precision=2)
        assert str(x) == "tensor([1.23, 2.00])"
        torch.set_printoptions(precision=1, sci_mode=True)
        assert str(x) == "tensor([1.2e+00, 2.0e+00])"
        torch.set_printoptions(profile="short", threshold=2)
        assert str(torch.arange(9)) == "tensor([0, 1,  ..., 7, 8])"
        torch.set_printoptions(profile="full")
        assert str(torch.arange(1001)).count(",") == 1000
        torch.set_printoptions(profile="default", linewidth=20)
        assert str(torch.tensor([111111, 222222])) == "tensor([111111,\n        222222])"
    finally:
        torch.set_printoptions(profile="default")


# -- devices ---------------------------------------------------------------------------------------------------------


def test_devices_are_told_by_kind_and_number() -> None:
    x = torch.zeros(2)
    assert (x.device.type, x.device.index) == ("cpu", None)
    assert repr(torch.device("cuda", 1)) == "device(type='cuda', index=1)"
    assert torch.device(torch.device("cuda:1")).index == 1
    with torch.device("cpu"):
        assert torch.zeros(2).device == torch.get_default_device() == x.device
    with pytest.raises(UnavailableError), torch.device("cuda"):
        pass
    torch.set_default_device("cpu")
    torch.set_default_device(None)
    assert torch.get_default_device() == "cpu"


def test_what_is_not_there_says_so_and_keeps_its_switches() -> None:
    assert not torch.cuda.is_available()
    assert not torch.backends.mps.is_available()
    assert not torch.accelerator.is_available()
    assert torch.cuda.device_count() == 0
    torch.cuda.manual_seed_all(1)
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    assert torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = before
    torch.set_float32_matmul_precision("high")
    assert torch.get_float32_matmul_precision() == "highest"
    torch.use_deterministic_algorithms(True)
    assert torch.are_deterministic_algorithms_enabled()


def test_a_shape_that_changed_in_place_is_seen_by_gradients() -> None:
    w, x = torch.ones(3, requires_grad=True), torch.arange(3.0)
    y = (w * x).sum()
    x.unsqueeze_(0)
    with pytest.raises(Error, match="changed in place"):
        y.backward()


def test_whole_numbers_fill_a_tensor() -> None:
    torch.manual_seed(1)
    assert set(torch.zeros(200).random_(2, 5).tolist()) == {2.0, 3.0, 4.0}
    assert set(torch.zeros(200, dtype=torch.int32).random_(2).tolist()) == {0, 1}
    assert torch.zeros(50, dtype=torch.uint8).random_().max() < 255


def test_assert_close_tells_what_differs() -> None:
    x = torch.tensor([1.0, 2.0])
    torch.testing.assert_close(x, x + 1e-7)
    torch.testing.assert_close({"a": [x, 1]}, {"a": [x.clone(), 1]})
    for wrong, said in (
        (torch.tensor([1.0, 2.5]), "1 of 2 elements differ, most at \\(1,\\)"), (x.double(), "dtypes differ"),
        (x[:1], "shapes differ"),
    ):  # fmt: skip
        with pytest.raises(AssertionError, match=said):
            torch.testing.assert_close(x, wrong)
    with pytest.raises(AssertionError, match="lengths differ"):
        torch.testing.assert_close([x], [x, x])


# -- files -----------------------------------------------------------------------------------------------------------


def test_what_is_nested_comes_back_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    model = torch.nn.Linear(2, 3)
    state = {
        "model": model.state_dict(), "epoch": 3, "best": None, "loss": math.nan, "least": -math.inf, "name": "ü",
        "parts": [1, (2.5, torch.arange(3)), {"yes": True}], "model.weight": torch.ones(1), 5: "five", "none": {},
        "dtype": torch.float16, "learned": torch.ones(2, requires_grad=True),
    }  # fmt: skip
    torch.save(state, path)
    found = torch.load(path)
    assert list(found) == list(state)
    assert list(found["model"]) == ["weight", "bias"]
    torch.nn.Linear(2, 3).load_state_dict(found["model"])
    assert found["model"]["weight"].tolist() == model.weight.tolist()
    assert math.isnan(found["loss"])
    assert found["least"] == -math.inf
    assert found["parts"][1][1].tolist() == [0, 1, 2]
    assert type(found["parts"][1]) is tuple
    assert [found[key] for key in ("epoch", "best", "name", 5, "none")] == [3, None, "ü", "five", {}]
    assert found["dtype"] is torch.float16
    assert found["learned"].requires_grad
    assert found["model.weight"].tolist() == [1.0]
    torch.save(torch.ones(2), path)
    assert torch.load(path).tolist() == [1.0, 1.0]
    memory = io.BytesIO()
    torch.save({"x": torch.arange(2)}, memory)
    memory.seek(0)
    assert torch.load(memory, map_location="cpu")["x"].tolist() == [0, 1]


NUMBERS = [0.00012345678901234567, 1e-300, 5e-324, -1 / 3, 10**18, 10**19, -(2**64), 10**5000, "1" * 40, True, 3]


def test_every_number_comes_back_from_a_file(tmp_path: Path) -> None:
    torch.save({"parts": NUMBERS, **{str(i): x for i, x in enumerate(NUMBERS)}, 10**30: 1}, tmp_path / "x")
    found = torch.load(tmp_path / "x")
    assert found["parts"] == NUMBERS and [found[str(i)] for i in range(len(NUMBERS))] == NUMBERS
    assert [type(x) for x in found["parts"]] == [type(x) for x in NUMBERS] and found[10**30] == 1
    with pytest.raises(InvalidArgumentError, match=r"torch\.tensor"):
        torch.save({"many": list(range(400_000))}, tmp_path / "y")
    assert not (tmp_path / "y").exists()


def test_a_file_that_is_broken_or_made_by_others(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    checkpoint.save(path, {"x": np.ones(2, np.float32)})
    assert torch.load(path)["x"].tolist() == [1.0, 1.0]
    for text in ("{", "[]", '["tensor","y"]', '["list",3]', '["dict",[],[["is","",1]]]', '["run","x"]', '"text"', "7",
                 "[" * 999 + "]" * 999, '["is","float","2"]', '["is","whole","x"]',
                 '["is","fraction",2]', '["is","run","x"]', '["tuple",[["is"]]]'):  # fmt: skip
        checkpoint.save(path, {"x": np.ones(2, np.float32)}, {"structure": text})
        with pytest.raises(DataLossError):
            torch.load(path)
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(InvalidArgumentError, match="deeply"):
        torch.save(loop, path)
    with pytest.raises(DTypeError, match="by name"):
        torch.save({"f": print}, path)
