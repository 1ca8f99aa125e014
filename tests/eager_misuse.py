"""Mistakes that users make in eager mode: what they wrote, the error that they must get, its words, and its remedy.

State: none.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import graphflow as gf
from graphflow import eager as torch
from graphflow.errors import (
    DTypeError,
    Error,
    FailedPreconditionError,
    GradientLookupError,
    GraphError,
    InvalidArgumentError,
    OutOfRangeError,
    ShapeError,
    UnavailableError,
)


@dataclass(frozen=True)
class Misuse:
    """`words` are in the text of the error, `remedy` in its hint or in what was expected."""

    id: str
    wrong: Callable[[], Any]
    kind: type[Error]
    words: str
    remedy: str


def leaf(*values: float) -> Any:
    """A leaf that requires gradients."""
    return torch.tensor(list(values) or [1.0, 2.0], requires_grad=True)


def symbolic() -> Any:
    """A tensor of a graph."""
    with gf.Graph().as_default():
        return gf.placeholder(gf.float32, [2], name="p")


def changed_before_backward() -> None:
    h = leaf() * 2
    y = h * h
    h.add_(1)
    y.sum().backward()


def changed_output() -> None:
    h = leaf().exp()
    h.mul_(2)
    h.sum().backward()


def changed_by_item() -> None:
    h = leaf() * 2
    y = h.pow(3)
    h[0] = 5.0
    y.sum().backward()


def changed_through_detach() -> None:
    w = leaf()
    y = w * w
    w.detach().add_(1)
    y.sum().backward()


def changed_under_no_grad() -> None:
    w = leaf()
    y = (w * w).sum()
    with torch.no_grad():
        w.sub_(0.1)
    y.backward()


def changed_through_numpy_owner() -> None:
    w = leaf()
    y = w.sigmoid()
    y.zero_()
    y.sum().backward()


def changed_matrix() -> None:
    w = torch.ones(2, 2, requires_grad=True)
    h = w @ w
    y = h @ h
    h += 1
    y.sum().backward()


def changed_divisor() -> None:
    w = leaf()
    h = w + 1
    y = w / h
    h -= 1
    y.sum().backward()


def stale_view() -> None:
    h = torch.ones(2, 2, requires_grad=True) * 1
    row = h[0]
    y = row * row
    h.mul_(3)
    y.sum().backward()


def cut_after_use() -> None:
    h = leaf() * 2
    y = (h * 3).sum()
    h.detach_()
    y.backward()


def twice() -> None:
    y = (leaf() ** 2).sum()
    y.backward()
    y.backward()


def twice_through_a_shared_part() -> None:
    h = leaf() * 2
    h.sum().backward()
    (h * h).sum().backward()


def grad_twice() -> None:
    w = leaf()
    y = (w**2).sum()
    torch.autograd.grad(y, w)
    torch.autograd.grad(y, w)


def tape_twice() -> None:
    x = torch.tensor(1.0)
    with gf.GradientTape() as tape:
        tape.watch(x)
        y = x * x
    tape.gradient(y, x)
    tape.gradient(y, x)


def tape_entered_twice() -> None:
    with gf.GradientTape() as tape, tape:
        pass


def tape_of_symbolic() -> None:
    p = symbolic()
    with gf.GradientTape() as tape:
        tape.watch(p)


def tape_gradient_of_symbolic() -> None:
    p = symbolic()
    with gf.GradientTape() as tape:
        pass
    tape.gradient(p, p)


def tape_with_a_word() -> None:
    x = torch.tensor(1.0)
    with gf.GradientTape() as tape:
        tape.watch(x)
        y = x * x
    tape.gradient(y, x, unconnected_gradients="nothing")


def no_path() -> None:
    with torch.no_grad():
        y = leaf().sum()
    y.backward()


def wrong_seed() -> None:
    (leaf() * 2).backward(torch.ones(3))


def wrong_seed_dtype() -> None:
    (leaf() * 2).backward(torch.ones(2, dtype=torch.float64))


def eager_in_a_graph() -> None:
    x = torch.ones(2)
    with gf.Graph().as_default():
        gf.placeholder(gf.float32, [2]) + x


def symbolic_at_once() -> None:
    with gf.Graph().as_default():
        p = gf.placeholder(gf.float32, [2], name="p")
    with gf.eager():
        gf.add(p, 1.0)


def eager_and_symbolic() -> None:
    p = symbolic()
    with gf.eager():
        torch.ones(2) + p


def placeholder_at_once() -> None:
    with gf.eager():
        gf.placeholder(gf.float32, [2])


def gradients_at_once() -> None:
    with gf.eager():
        x = gf.constant([1.0, 2.0])
        gf.gradients(x * x, x)


def enable_late() -> None:
    with gf.Graph().as_default():
        gf.constant(1.0)
        gf.enable_eager_execution()


def assign_frozen() -> None:
    with gf.eager():
        x = gf.constant([1.0, 2.0])
    x[0] = 5.0


def detached_view() -> None:
    h = leaf() * 2
    h[0:1].detach_()


def unrecorded_view() -> None:
    h = leaf() * 2
    with torch.no_grad():
        view = h.view(2, 1)
    view.mul_(h.view(2, 1))


G = FailedPreconditionError
ROWS: tuple[Misuse, ...] = (
    # changes in place
    Misuse("in place on a needed tensor", changed_before_backward, G, "changed in place after it was used",
           "x = x + y"),
    Misuse("in place on a needed output", changed_output, G, "changed in place after it was used", "x = x + y"),
    Misuse("item of a needed tensor", changed_by_item, G, "changed in place after it was used", "x = x + y"),
    Misuse("detach shares memory", changed_through_detach, G, "changed in place after it was used", "x = x + y"),
    Misuse("step before backward", changed_under_no_grad, G, "changed in place after it was used", "x = x + y"),
    Misuse("in place on a needed matrix", changed_matrix, G, "changed in place after it was used", "x = x + y"),
    Misuse("in place on a divisor", changed_divisor, G, "changed in place after it was used", "x = x + y"),
    Misuse("stale view", stale_view, G, "changed in place after it was used", "x = x + y"),
    Misuse("detach_ after use", cut_after_use, G, "cut off by detach_()", "x = x.detach()"),
    Misuse("detach_ of a view", detached_view, G, "not detached in place", "x.detach()"),
    Misuse("in place on a leaf", lambda: leaf().add_(1), G, "a leaf that requires gradients", "no_grad"),
    Misuse("+= on a leaf", lambda: leaf().__iadd__(1), G, "a leaf that requires gradients", "no_grad"),
    Misuse("zero_ on a leaf", lambda: leaf().zero_(), G, "a leaf that requires gradients", "no_grad"),
    Misuse("item of a leaf", lambda: leaf().__setitem__(0, 1.0), G, "a leaf that requires gradients", "no_grad"),
    Misuse("copy_ into a leaf", lambda: leaf().copy_(torch.ones(2)), G, "a leaf that requires", "no_grad"),
    Misuse("view of a leaf", lambda: leaf().view(2, 1).mul_(2), G, "a view of a leaf", "no_grad"),
    Misuse("fill_ on a leaf", lambda: leaf().fill_(1.0), G, "a leaf that requires", "no_grad"),
    Misuse("view made under no_grad", unrecorded_view, G, "a view that was made under no_grad", "outside of no_grad"),
    Misuse("expanded memory", lambda: torch.zeros(1).expand(3).add_(1), G, "cannot be written", "x.clone()"),
    Misuse("memory of a constant", assign_frozen, G, "cannot be written", "x.clone()"),
    Misuse("in place grows", lambda: torch.zeros(2).add_(torch.ones(3, 2)), ShapeError, "change the shape", "x + y"),
    Misuse("in place widens", lambda: torch.tensor([1]).add_(0.5), DTypeError, "does not fit", "x = x + y"),
    Misuse("/= on integers", lambda: torch.tensor([1]).div_(2), DTypeError, "does not fit", "x = x + y"),
    Misuse("fill_ with a tensor", lambda: torch.zeros(2).fill_(torch.ones(2)), ShapeError, "one number", "copy_"),
    Misuse("fill_ with text", lambda: torch.zeros(2).fill_("a"), DTypeError, "not a number", "float32"),
    Misuse("copy_ of a list", lambda: torch.zeros(2).copy_([1, 2]), DTypeError, "takes a tensor", "torch.tensor"),
    Misuse("set item of another shape", lambda: torch.zeros(4).__setitem__(slice(0, 2), torch.ones(3)), ShapeError,
           "does not fit", "shape"),
    Misuse("set item out of range", lambda: torch.zeros(3).__setitem__(5, 1.0), OutOfRangeError, "out of range",
           "size"),
    # backward
    Misuse("backward twice", twice, G, "computed already", "retain_graph=True"),
    Misuse("shared part twice", twice_through_a_shared_part, G, "computed already", "retain_graph=True"),
    Misuse("grad twice", grad_twice, G, "computed already", "retain_graph=True"),
    Misuse("backward of no gradient", lambda: torch.ones(2).sum().backward(), G, "no gradient can be asked",
           "requires_grad=True"),
    Misuse("backward under no_grad", no_path, G, "no gradient can be asked", "no_grad"),
    Misuse("backward after detach", lambda: leaf().detach().sum().backward(), G, "no gradient can be asked",
           "detach()"),
    Misuse("backward of many", lambda: (leaf() * 2).backward(None), ShapeError, "takes a scalar", "loss.sum()"),
    Misuse("backward of comparisons", lambda: (leaf() > 0).any().backward(), G, "no gradient can be asked",
           "requires_grad=True"),
    Misuse("backward of argmax", lambda: leaf().argmax().backward(), G, "no gradient can be asked", "requires_grad"),
    Misuse("seed of another shape", wrong_seed, ShapeError, "shape of its tensor", "[2]"),
    Misuse("seed of another dtype", wrong_seed_dtype, DTypeError, "dtype of its tensor", "float32"),
    Misuse("grad of unused", lambda: torch.autograd.grad(leaf().sum(), leaf()), GradientLookupError, "no path",
           "allow_unused"),
    Misuse("grad of many", lambda: torch.autograd.grad(leaf() * 2, leaf()), ShapeError, "takes scalars", "loss.sum()"),
    Misuse("grad by a constant", lambda: torch.autograd.grad(leaf().sum(), torch.ones(2)), G, "does not require",
           "requires_grad_()"),
    Misuse("grad of a constant", lambda: torch.autograd.grad(torch.ones(1), leaf()), G, "does not require",
           "requires_grad_()"),
    Misuse("grad of a symbolic tensor", lambda: torch.autograd.grad(symbolic(), leaf()), InvalidArgumentError,
           "takes eager tensors", "gf.gradients"),
    Misuse("grad by a number", lambda: torch.autograd.grad(leaf().sum(), 3.0), InvalidArgumentError,
           "takes eager tensors", "torch.tensor"),
    Misuse("gradients of integers", lambda: torch.tensor([1, 2], requires_grad=True), DTypeError, "floating-point",
           "x.float()"),
    Misuse("integers asked later", lambda: torch.tensor([1, 2]).requires_grad_(), DTypeError, "floating-point",
           "x.float()"),
    Misuse("zeros of integers", lambda: torch.zeros(2, dtype=torch.int64, requires_grad=True), DTypeError,
           "floating-point", "x.float()"),
    Misuse("no gradient of what was computed", lambda: setattr(leaf() * 2, "requires_grad", False), G, "only a leaf",
           "x.detach()"),
    Misuse("gradient of another shape", lambda: setattr(leaf(), "grad", torch.ones(3)), ShapeError,
           "the shape of its tensor", "zeros_like"),
    Misuse("gradient of another dtype", lambda: setattr(leaf(), "grad", torch.ones(2, dtype=torch.float64)), DTypeError,
           "the dtype of its tensor", "float32"),
    Misuse("gradient as a number", lambda: setattr(leaf(), "grad", 0.0), DTypeError, "a tensor or None", "zeros_like"),
    Misuse("class under no_grad", lambda: torch.no_grad()(type("Net", (), {})), InvalidArgumentError,
           "a class is not decorated", "__init__"),
    # tapes
    Misuse("tape used twice", tape_twice, G, "asked already", "persistent=True"),
    Misuse("tape entered twice", tape_entered_twice, G, "recording already", "another tape"),
    Misuse("watch of integers", lambda: gf.GradientTape().watch(torch.tensor([1])), InvalidArgumentError,
           "floating-point", "x.float()"),
    Misuse("watch of a number", lambda: gf.GradientTape().watch(1.0), InvalidArgumentError, "watches eager tensors",
           "torch.tensor"),
    Misuse("watch of a symbolic tensor", tape_of_symbolic, InvalidArgumentError, "watches eager tensors",
           "tf.gradients"),
    Misuse("tape and a symbolic tensor", tape_gradient_of_symbolic, InvalidArgumentError, "knows eager tensors",
           "tf.gradients"),
    Misuse("unconnected as a word", tape_with_a_word, InvalidArgumentError, "not connected", "zero"),
    # graphs and eager tensors
    Misuse("eager tensor in a graph", eager_in_a_graph, GraphError, "used in a graph", "tf.constant"),
    Misuse("symbolic tensor at once", symbolic_at_once, GraphError, "no value yet", "session.run"),
    Misuse("eager and symbolic", eager_and_symbolic, GraphError, "used in a graph", "a placeholder"),
    Misuse("eager too late", enable_late, G, "start of a program", "gf.eager()"),
    Misuse("placeholder at once", placeholder_at_once, G, "waits for a run", "the value itself"),
    Misuse("tf.gradients at once", gradients_at_once, G, "nothing was recorded", "tf.GradientTape"),
    Misuse("nothing to retain", lambda: torch.ones(2).retain_grad(), G, "keeps none", "requires_grad=True"),
    Misuse("nothing to draw", lambda: gf.render(torch.ones(2), "/tmp/never.json"), G, "nothing was recorded",
           "requires_grad=True"),
    # values
    Misuse("float of many", lambda: float(torch.zeros(2)), InvalidArgumentError, "one element", "tolist"),
    Misuse("int of many", lambda: int(torch.zeros(2)), InvalidArgumentError, "one element", "tolist"),
    Misuse("item of many", lambda: torch.zeros(2).item(), InvalidArgumentError, "one element", "tolist"),
    Misuse("item of none", lambda: torch.zeros(0).item(), InvalidArgumentError, "one element", "tolist"),
    Misuse("if of many", lambda: 1 if torch.zeros(2) else 2, InvalidArgumentError, "neither true nor false", "any()"),
    Misuse("if of a comparison", lambda: 1 if torch.zeros(2) == torch.ones(2) else 2, InvalidArgumentError,
           "neither true nor false", "all()"),
    Misuse("numpy of a gradient", lambda: leaf().numpy(), G, "takes part in gradients", "detach()"),
    Misuse("asarray of a gradient", lambda: np.asarray(leaf() * 2), G, "takes part in gradients", "detach()"),
    Misuse("dlpack of a gradient", lambda: np.from_dlpack(leaf()), G, "not exported", "detach()"),
    Misuse("len of a scalar", lambda: len(torch.tensor(1.0)), ShapeError, "no length", "numel"),
    Misuse("loop over a scalar", lambda: list(torch.tensor(1.0)), InvalidArgumentError, "iterated", "item()"),
    Misuse("float as an index", lambda: [1, 2][torch.tensor(1.0)], InvalidArgumentError, "scalar of integers",
           "int(x)"),
    Misuse("format of many", lambda: f"{torch.zeros(2):.2f}", InvalidArgumentError, "for one number", "mean()"),
    Misuse("pickle", lambda: pickle.dumps(torch.zeros(2)), G, "not pickled", "torch.save"),
    Misuse("deep copy of what was computed", lambda: (leaf() * 2).__deepcopy__({}), G, "only leaves", "clone()"),
    Misuse("data as a list", lambda: setattr(torch.zeros(2), "data", [1.0]), DTypeError, "data is a tensor",
           "torch.tensor"),
    Misuse("save of a function", lambda: torch.save({"f": print}, "/nowhere"), DTypeError, "by name", "state_dict"),
    # indices
    Misuse("index out of range", lambda: torch.zeros(3)[3], OutOfRangeError, "out of range", "-3 to 2"),
    Misuse("negative index out of range", lambda: torch.zeros(3)[-4], OutOfRangeError, "out of range", "-3 to 2"),
    Misuse("second index out of range", lambda: torch.zeros(3, 2)[0, 2], OutOfRangeError, "out of range", "-2 to 1"),
    Misuse("index of a scalar", lambda: torch.tensor(1.0)[0], OutOfRangeError, "a scalar", "item()"),
    Misuse("too many indices", lambda: torch.zeros(3)[0, 0], OutOfRangeError, "too many parts", "at most 1"),
    Misuse("tensor of indices out of range", lambda: torch.zeros(3)[torch.tensor([0, 7])], OutOfRangeError,
           "index 7", "-3 to 2"),
    Misuse("index by floats", lambda: torch.zeros(3)[torch.tensor([0.0])], DTypeError, "no index", "an integer"),
    Misuse("index by text", lambda: torch.zeros(3)["a"], DTypeError, "no index", "an integer"),
    Misuse("mask of another shape", lambda: torch.zeros(3)[torch.tensor([True, False])], ShapeError,
           "a mask has", "[3]"),
    Misuse("indices that do not broadcast", lambda: torch.zeros(3, 3)[[0, 1], [0, 1, 2]], ShapeError,
           "do not fit", "broadcast"),
    Misuse("no such dimension", lambda: torch.zeros(3).sum(dim=1), OutOfRangeError, "no dimension 1", "-1 to 0"),
    Misuse("argmax over no dimension", lambda: torch.zeros(3).argmax(2), OutOfRangeError, "no dimension 2", "-1 to 0"),
    Misuse("dimension as a float", lambda: torch.zeros(3).sum(dim=0.5), DTypeError, "a dimension is", "dim=0"),
    Misuse("unsqueeze too far", lambda: torch.zeros(3).unsqueeze(3), OutOfRangeError, "no place", "-2 to 1"),
    Misuse("topk of too many", lambda: torch.zeros(3).topk(5), OutOfRangeError, "as many as there are", "at most 3"),
    # shapes
    Misuse("matrices that do not fit", lambda: torch.zeros(2, 3) @ torch.zeros(2, 3), ShapeError, "inner dimensions",
           "as many columns"),
    Misuse("mm of vectors", lambda: torch.zeros(3).mm(torch.zeros(3)), ShapeError, "ranks 2 and 2", "torch.matmul"),
    Misuse("bmm of matrices", lambda: torch.zeros(3, 3).bmm(torch.zeros(3, 3)), ShapeError, "ranks 3", "torch.matmul"),
    Misuse("matmul of a scalar", lambda: torch.zeros(3) @ torch.tensor(1.0), ShapeError, "no matrix", "x * y"),
    Misuse("view of a transpose", lambda: torch.zeros(2, 3).t().view(6), ShapeError, "shows the same memory",
           "contiguous()"),
    Misuse("view of another size", lambda: torch.zeros(6).view(4, 2), ShapeError, "do not fill", "6 elements"),
    Misuse("view with two unknowns", lambda: torch.zeros(6).view(-1, -1), ShapeError, "do not fill", "6 elements"),
    Misuse("view by a fraction", lambda: torch.zeros(6).view(6 / 2, 2), DTypeError, "a size is an integer", "n // 2"),
    Misuse("shapes that do not broadcast", lambda: torch.zeros(2) + torch.zeros(3), ShapeError, "broadcast",
           "equal or 1"),
    Misuse("cat of other sizes", lambda: torch.cat([torch.zeros(2, 2), torch.zeros(3, 3)]), ShapeError, "equal sizes",
           "one size along axis 1"),
    Misuse("cat of nothing", lambda: torch.cat([]), InvalidArgumentError, "at least one", "torch.cat([x])"),
    Misuse("cat of one tensor", lambda: torch.cat(torch.zeros(2)), DTypeError, "a list of tensors",
           "torch.cat([x, y])"),
    Misuse("stack of other shapes", lambda: torch.stack([torch.zeros(2), torch.zeros(3)]), ShapeError, "shape", "2"),
    Misuse("permute of too few", lambda: torch.zeros(2, 3).permute(0), ShapeError, "every dimension once", "2"),
    Misuse("t of three dimensions", lambda: torch.zeros(2, 2, 2).t(), ShapeError, "transposes matrices", "transpose"),
    Misuse("expand of a size", lambda: torch.zeros(2).expand(3), ShapeError, "broadcast", "equal or 1"),
    Misuse("repeat of too few", lambda: torch.zeros(2, 2).repeat(3), ShapeError, "for each dimension", "2"),
    Misuse("no pieces", lambda: torch.zeros(4).split(0), InvalidArgumentError, "above 0", "split(2)"),
    # dtypes, devices, creation
    Misuse("matrices of other dtypes", lambda: torch.zeros(2, 2) @ torch.zeros(2, 2, dtype=torch.float64), DTypeError,
           "are not multiplied", "y.to(float32)"),
    Misuse("mean of integers", lambda: torch.tensor([1, 2]).mean(), DTypeError, "mean of integers", "float()"),
    Misuse("text", lambda: torch.tensor([1.0]) + "a", DTypeError, "", "float"),
    Misuse("tensor of None", lambda: torch.tensor(None), DTypeError, "not what tensors", "numbers"),
    Misuse("ragged lists", lambda: torch.tensor([[1.0], [1.0, 2.0]]), DTypeError, "cannot make an array",
           "inhomogeneous"),
    Misuse("an object", lambda: torch.tensor(object()), DTypeError, "not what tensors", "numbers"),
    Misuse("from_numpy of a list", lambda: torch.from_numpy([1.0]), DTypeError, "takes a NumPy array", "torch.tensor"),
    Misuse("no such device", lambda: torch.zeros(2).to("cuda"), UnavailableError, "can go to", "cpu"),
    Misuse("cuda()", lambda: torch.zeros(2).cuda(), UnavailableError, "can go to", "cpu"),
    Misuse("device of zeros", lambda: torch.zeros(2, device="cuda:0"), UnavailableError, "can go to", "cpu"),
    Misuse("device of nothing", lambda: torch.device(None), InvalidArgumentError, "a device has a name", "cpu"),
    Misuse("arange backwards", lambda: torch.arange(5, 0), InvalidArgumentError, "in steps", "step=-1"),
    Misuse("seed as a fraction", lambda: torch.manual_seed(0.5), DTypeError, "a seed is an integer", "manual_seed(0)"),
    Misuse("randint without a shape", lambda: torch.randint(0, 9, 3), DTypeError, "takes a shape last", "(3,)"),
    Misuse("clamp without bounds", lambda: torch.zeros(2).clamp(), InvalidArgumentError, "min, max or both", "min=0"),
    Misuse("rounding by a word", lambda: torch.div(torch.ones(1), 2, rounding_mode="up"), InvalidArgumentError,
           "rounding_mode", "floor"),
    Misuse("einsum without its letters", lambda: torch.einsum(torch.zeros(2), torch.zeros(2)), InvalidArgumentError,
           "begins with its equation", "ij,jk->ik"),
)  # fmt: skip
