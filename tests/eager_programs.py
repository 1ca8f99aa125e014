"""What programs in PyTorch's spelling must answer: expressions, and programs with gradients and changes in place.

`tests/eager_answers.json` holds what PyTorch 2 answers; `python -m tests.eager_programs` writes it, where torch is.

State: none.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

ANSWERS = Path(__file__).with_name("eager_answers.json")

# a: float32 [4, 5], B: float32 [5, 3], i: int64 [3], b: bool [3], b4: bool [4]
EXPRESSIONS = """
a+1
a+1.5
i+1
i+1.5
i/2
i//2
i%3
b+1
b+1.0
i+a[0,:3]
a.double()+a
i.sum()
b.sum()
a.mean()
a.std()
a.var(0)
a.var(dim=1,unbiased=False)
a.max()
a.max(1)
a.min(dim=0)
a.argmax()
a.argmax(1,keepdim=True)
a.topk(2)
a.sort(descending=True)
a.sort(0)
a.cumsum(1)
a.prod(1)
a.norm()
a.norm(dim=1)
a.norm(p=1)
a.any()
(a>0).all(1)
a.clamp(-.5,.5)
a.clamp(min=0)
a.round()
a.relu()
a.sigmoid()
a.softmax(1)
a.log_softmax(-1)
a.exp()
i.exp()
i.float()
a.long()
a.view(-1)
a.view(2,10)
a.reshape(-1,2)
a.flatten()
a.t()
a.T
a.permute(1,0)
a.transpose(0,1)
a.unsqueeze(0).squeeze()
a.unsqueeze(-1)
a[None].expand(3,-1,-1)
a.repeat(2,1)
a@B
torch.matmul(a,B)
a.mm(B)
torch.bmm(a[None],B[None])
a[0]@B
a@B[:,0]
a[0].dot(a[1])
torch.einsum('ij,jk->ik',a,B)
torch.cat([a,a],1)
torch.cat((a,a))
torch.stack([a,a],dim=1)
torch.where(a>0,a,torch.zeros_like(a))
torch.where(a>0,1.0,a)
a[1]
a[-1,2]
a[1:3,::2]
a[:,None].shape
a[...,0]
a[a>0]
a[[0,2]]
a[torch.tensor([0,-1])]
a[torch.arange(4),torch.tensor([0,1,2,3])]
a[:,[0,3]]
a[[1,2],:][:,[0]]
a[[0,1],1:3]
a[:,torch.tensor([[0,1],[2,3]])]
a[b4]
a[b4,1]
torch.arange(5)
torch.arange(0,1,.25)
torch.arange(5.)
torch.linspace(0,1,5)
torch.eye(3)
torch.full((2,2),7)
torch.full((2,),1.5)
torch.tensor([1,2])
torch.tensor([1.,2])
torch.tensor([[True]])
torch.tensor(3)
torch.tensor(np.ones(2))
torch.ones(2,3)
torch.zeros((2,3),dtype=torch.int64)
torch.allclose(a,a+1e-9)
torch.equal(a,a)
a.numel()
a.dim()
list(a.size())
a.size(1)
a.sum(dim=(0,1))
a.sum(0,keepdim=True)
a.logsumexp(1)
a.abs()
-a
a**2
2**i
a.pow(3)
i**2
a.square()
torch.log2(a.abs())
a.eq(a)
a==a
a!=0
(a>0)&(a<1)
~(a>0)
a.floor()
a.ceil()
a.sign()
torch.maximum(a,-a)
a.chunk(2,1)
a.split(2)
a.unbind(0)[1]
a.gather(1,torch.tensor([[0],[1],[2],[3]]))
a.masked_fill(a>0,0.)
torch.tril(a[:4,:4])
torch.triu(a[:4,:4],1)
a.flip(0)
a.roll(1,0)
a.median()
a.median(1)
(a>0).nonzero()
torch.where(a>1)
a.amax(1)
torch.outer(a[0],a[1])
i.prod()
i.max()
i.float().mean()
a.type_as(i)
a.item.__name__
a[0,0].item()
torch.isclose(a,a)
torch.meshgrid(torch.arange(2),torch.arange(3),indexing='ij')
torch.lerp(a,a+1,.5)
a.remainder(.3)
torch.sum(a)
torch.mean(a,0)
torch.exp(a)
torch.argmax(a,1)
torch.tensor([1.,2.]).to(torch.int64)
a.to(torch.float64)
a.float().double().dtype is torch.float64
torch.tensor(2.)*i
i*torch.tensor(2.5)
torch.tensor(2,dtype=torch.int32)+i
a.ndim
torch.count_nonzero(a>0)
a.cumprod(0)
torch.tensor(1).dtype is torch.long
torch.rand(3).dtype is torch.float32
torch.randint(0,3,(2,)).dtype is torch.int64
a.index_select(1,torch.tensor([0,2]))
a.narrow(1,1,2)
a.trace()
a.reshape(2,2,5).mean((0,2))
a.expand_as(a[None])
torch.tensor([[1,2],[3,4]]).tolist()
bool(torch.tensor([True]))
float(torch.tensor(2.5))
len(a)
[float(r.sum())>0 for r in a]
torch.zeros(3).fill_(2)
torch.ones(3).add_(2).mul_(3)
torch.ones(2,2).zero_()
torch.is_tensor(a)
a.new_zeros(2)
torch.tensor([3,1,2]).sort()
torch.tensor([3,1,2]).argsort()
a.std(0)
torch.std(a,dim=1)
torch.tensor([1,2,3])[1]
torch.tensor([5,6])>5
""".strip().splitlines()

# R(...) reports; T(values, True) makes a leaf that requires gradients
PROGRAMS: dict[str, str] = {
    "basic": "w=T([1.,2.],True); (w*w).sum().backward(); R(w.grad)",
    "accum": "w=T([1.,2.],True); (w*w).sum().backward(); (w*3).sum().backward(); R(w.grad)",
    "nonleaf_inplace": "w=T([1.,2.],True); h=w*2; h+=1; h*=3; h.sum().backward(); R(w.grad,h)",
    "needed": "w=T([1.,2.],True); h=w*2; y=h*h; h.add_(1); y.sum().backward(); R(w.grad)",
    "exp_out": "w=T([1.,2.],True); h=w.exp(); h.add_(1); h.sum().backward(); R(w.grad)",
    "exp_": "w=T([1.,2.],True); h=w*1; h.exp_(); h.sum().backward(); R(w.grad)",
    "relu_": "w=T([1.,-2.],True); h=w*1; h.relu_(); h.sum().backward(); R(w.grad)",
    "leaf_inplace": "w=T([1.,2.],True); w.add_(1); R(w)",
    "leaf_nograd": "w=T([1.,2.],True); \nwith torch.no_grad(): w.add_(1)\n(w*w).sum().backward(); R(w,w.grad)",
    "leaf_between": "w=T([1.,2.],True); y=w*w\nwith torch.no_grad(): w.add_(1)\ny.sum().backward(); R(w,w.grad)",
    "setitem": "w=T([1.,2.],True); b=torch.zeros(4); b[1:3]=w*2; (b*b).sum().backward(); R(w.grad,b)",
    "setitem2": "w=T([1.,2.],True); h=w*2; h[0]=5.; (h*h).sum().backward(); R(w.grad,h)",
    "setitem_loop": (
        "w=T([2.],True); "
        "b=torch.ones(4)\nfor k in range(1,4): b[k]=b[k-1].clone()*w[0]\nb.sum().backward(); R(w.grad,b)"
    ),
    "zero_cut": "w=T([1.,2.],True); h=w*2; y=h+1; h.zero_(); (h.sum()+y.sum()).backward(); R(w.grad,h)",
    "fill_": "w=T([1.,2.],True); h=w*2; h.fill_(3.); (h*w).sum().backward(); R(w.grad)",
    "copy_": "w=T([1.,2.],True); h=torch.zeros(2); h.copy_(w); (h*h).sum().backward(); R(w.grad)",
    "clamp_": "w=T([1.,2.],True); h=w*2; h.clamp_(max=3.); h.sum().backward(); R(w.grad)",
    "twice": "w=T([1.,2.],True); y=(w*w).sum(); y.backward(); y.backward()",
    "retain": "w=T([1.,2.],True); y=(w*w).sum(); y.backward(retain_graph=True); y.backward(); R(w.grad)",
    "second": (
        "w=T([1.,2.],True); y=(w**3).sum(); g,=torch.autograd.grad(y,w,create_graph=True); "
        "g.sum().backward(); R(w.grad,g)"
    ),
    "nonscalar": "w=T([1.,2.],True); (w*w).backward()",
    "seed": "w=T([1.,2.],True); (w*w).backward(torch.tensor([1.,10.])); R(w.grad)",
    "nograd": "w=T([1.,2.]); (w*w).sum().backward()",
    "detach": "w=T([1.,2.],True); y=(w*w.detach()).sum(); y.backward(); R(w.grad)",
    "detach_shares": "w=T([1.,2.],True); d=w.detach(); d.add_(1); R(w,d)",
    "detach_hazard": "w=T([1.,2.],True); y=w*w; d=w.detach(); d.add_(1); y.sum().backward(); R(w.grad)",
    "view_shares": "x=torch.zeros(4); x.view(2,2)[0]=1; x[3]=7; R(x)",
    "view_inplace": "x=torch.zeros(2,2); x[0].add_(1); x.t()[1].mul_(5); R(x)",
    "grad_alias": "a=T([1.,2.],True); b=T([1.,2.],True); (a+b).sum().backward(); a.grad.zero_(); R(a.grad,b.grad)",
    "grad_none": "a=T([1.,2.],True); (a*2).sum().backward(); a.grad=None; (a*3).sum().backward(); R(a.grad)",
    "unused": "a=T([1.],True); b=T([1.],True); torch.autograd.grad(a.sum(),b)",
    "unused_ok": (
        "a=T([1.],True); b=T([1.],True); g=torch.autograd.grad(a.sum(),b,allow_unused=True); R(g[0] is None)"
    ),
    "nograd_ctx": "w=T([1.,2.],True)\nwith torch.no_grad(): y=w*2\nR(y.requires_grad, y.is_leaf)",
    "deco": "w=T([1.,2.],True)\n@torch.no_grad()\ndef f(x): return x*2\nR(f(w).requires_grad)",
    "int_grad": "torch.tensor([1,2],requires_grad=True)",
    "int_inplace": "x=torch.tensor([1,2]); x+=1; x*=2; R(x)",
    "int_div": "x=torch.tensor([1,2]); x/=2; R(x)",
    "int_addf": "x=torch.tensor([1,2]); x+=1.5; R(x)",
    "shape_inplace": "x=torch.zeros(2); x+=torch.ones(3,2)",
    "maxgrad": "w=T([[1.,3.],[4.,4.]],True); v,i=w.max(1); v.sum().backward(); R(w.grad,i)",
    "idx_grad": "w=T([[1.,3.],[4.,4.]],True); w[[0,1],[1,1]].sum().backward(); R(w.grad)",
    "mask_grad": "w=T([[1.,3.],[4.,-4.]],True); w[w>0].pow(2).sum().backward(); R(w.grad)",
    "mean_std": "w=T([1.,3.,4.],True); (w.mean()+w.std()+w.norm()).backward(); R(w.grad)",
    "topk": "w=T([1.,3.,4.],True); w.topk(2).values.sum().backward(); R(w.grad)",
    "where": "w=T([1.,-3.],True); torch.where(w>0,w*2,w*3).sum().backward(); R(w.grad)",
    "bcast": "w=T([1.,2.],True); b=T(3.,True); ((w*b)+torch.ones(4,2)).sum().backward(); R(w.grad,b.grad)",
    "clone": "w=T([1.,2.],True); c=w.clone(); c+=1; (c*c).sum().backward(); R(w.grad,w)",
    "accum0": "t=torch.tensor(0.); w=T([1.,2.],True)\nfor k in range(3): t+=(w*k).sum()\nt.backward(); R(w.grad,t)",
    "reqgrad_set": "x=torch.ones(2); x.requires_grad=True; (x*2).sum().backward(); R(x.grad)",
    "reqgrad_nonleaf": "x=T([1.],True); y=x*2; y.requires_grad=False",
    "numpy_req": "x=T([1.],True); x.numpy()",
    "oob": "x=torch.zeros(3); x[3]",
    "oob_set": "x=torch.zeros(3); x[5]=1",
    "matshape": "torch.zeros(2,3)@torch.zeros(2,3)",
    "badview": "torch.zeros(6).view(4,2)",
    "catshape": "torch.cat([torch.zeros(2,2),torch.zeros(3,3)])",
    "float_many": "float(torch.zeros(2))",
    "bool_many": "bool(torch.zeros(2))",
    "matdtype": "torch.zeros(2,2)@torch.zeros(2,2,dtype=torch.float64)",
    "view_then": "w=T([1.,2.],True); h=w*1; v=h.view(2,1); v.mul_(3); v.sum().backward(); R(w.grad)",
    "view_leaf": "w=T([1.,2.],True); w.view(2,1).mul_(3)",
    "from_numpy": "a=np.zeros(2,np.float32); x=torch.from_numpy(a); x.add_(1); a[0]=9; R(x, a.tolist())",
    "expand_inplace": "torch.zeros(1).expand(3).add_(1)",
    "deep": "import copy; w=T([1.,2.],True); c=copy.deepcopy(w); R(c, c.requires_grad)",
    "deep2": "import copy; w=T([1.,2.],True); c=copy.deepcopy(w*2)",
    "data": "w=T([1.,2.],True); w.data.add_(1); R(w)",
    "data2": "w=T([1.,2.],True); w.data -= 0.5; R(w); w.data=torch.zeros(3); R(w.shape[0])",
    "setgrad": (
        "w=T([1.],True)\nwith torch.set_grad_enabled(False): y=w*2\nR(y.requires_grad, torch.is_grad_enabled())"
    ),
    "contains": "x=torch.tensor([1,2]); R(2 in x, 5 in x)",
    "none_eq": "x=torch.tensor([1,2]); R(x==None, x!=None)",
    "fmt": "R(f'{torch.tensor(1.5):.2f}')",
    "iter": "R([x.item() for x in torch.arange(3)])",
    "hessian": (
        "w=T([1.,2.],True); y=(w[0]**2*w[1]); g,=torch.autograd.grad(y,w,create_graph=True); "
        "h,=torch.autograd.grad(g[0],w); R(g,h)"
    ),
    "rebind": "x=torch.ones(2); y=x; y+=1; R(x)",
    "grad_accum_ref": "w=T([1.],True); (w*2).sum().backward(); g=w.grad; (w*3).sum().backward(); R(w.grad)",
    "unbroadcast_inpl": "w=T([1.,2.],True); h=w*2; h.sub_(w); h.div_(2.); h.sum().backward(); R(w.grad)",
    "mul_self": "w=T([3.],True); h=w*1; h.mul_(w); h.sum().backward(); R(w.grad)",
    "sqrt_inp": "w=T([4.],True); h=w*1; h.sqrt_(); h.sum().backward(); R(w.grad)",
    "detach_": "w=T([4.],True); h=w*1; h.detach_(); R(h.requires_grad,h.is_leaf)",
    "grad_of_grad_none": (
        "w=T([4.],True); g,=torch.autograd.grad((w*2).sum(), w, create_graph=True); g.sum().backward()"
    ),
}


def inputs(torch: Any) -> dict[str, Any]:
    """The names that expressions use."""
    random = np.random.default_rng(0)
    a = random.normal(size=(4, 5)).astype(np.float32)
    other = random.normal(size=(5, 3)).astype(np.float32)
    return {
        "torch": torch, "np": np, "a": torch.tensor(a), "B": torch.tensor(other), "i": torch.tensor([1, 2, 3]),
        "b": torch.tensor([True, False, True]), "b4": torch.tensor([True, False, True, False]),
    }  # fmt: skip


def plain(x: Any) -> Any:
    """What was computed, as JSON: dtype, shape and elements of tensors."""
    if isinstance(x, (tuple, list)):
        return [plain(v) for v in x]
    if hasattr(x, "detach"):
        dtype = getattr(x.dtype, "name", str(x.dtype).rpartition(".")[2])
        return [dtype, list(x.shape), np.asarray(x.detach().tolist(), float).reshape(-1).tolist()]
    return bool(x) if isinstance(x, (bool, np.bool_)) else x


def value(torch: Any, expression: str) -> Any:
    """What an expression answers."""
    return plain(eval(expression, inputs(torch)))


def report(torch: Any, program: str) -> Any:
    """What a program reports; "refused" if it raises."""
    found: list[Any] = []

    def tensor(values: Any, requires_grad: bool = False) -> Any:
        return torch.tensor(values, requires_grad=requires_grad)

    names = {"torch": torch, "np": np, "T": tensor, "R": lambda *values: found.extend(map(plain, values))}
    exec(program, names)
    return found


def main() -> None:
    """Write PyTorch's answers."""
    import torch

    def tried(program: str) -> Any:
        try:
            return report(torch, program)
        except (RuntimeError, ValueError, TypeError, IndexError):
            return "refused"

    answers = {e: value(torch, e) for e in EXPRESSIONS}
    answers.update({name: tried(program) for name, program in PROGRAMS.items()})
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(answer)}" for key, answer in answers.items())
    ANSWERS.write_text("{\n" + lines + "\n}\n")


if __name__ == "__main__":
    main()
