"""Programs that change tensors in place, through views, and where gradients lie.

What PyTorch makes of them is in `tests/gradient_answers.json`.

State: none.
"""

from __future__ import annotations

PROGRAMS: dict[str, str] = {
    "x0_iadd": """
w = T([1.0, 2.0, 3.0], True)
x = w * 2
x[0] += 1
(x * x).sum().backward()
R(x.detach(), w.grad)
""",
    "col_zero": """
w = torch.arange(6.0).reshape(2, 3).requires_grad_()
x = w * 2
x[:, 1] = 0
(x * x).sum().backward()
R(x.detach(), w.grad)
""",
    "mask_val": """
w = T([1.0, -2.0, 3.0], True)
x = w * 2
x[x < 0] = 5.0
(x * x).sum().backward()
R(x.detach(), w.grad)
""",
    "mask_tensor": """
w = T([1.0, -2.0, 3.0], True)
v = T([7.0, 8.0], True)
x = w * 2
x[torch.tensor([True, False, True])] = v
(x * x).sum().backward()
R(x.detach(), w.grad, v.grad)
""",
    "loop": """
w = T([1.0, 2.0, 3.0], True)
y = torch.zeros(3)
for i in range(3):
    y[i] = w[i] ** 2
y.sum().backward()
R(y.detach(), w.grad)
""",
    "loop_prev_clone": """
w = T([1.0, 2.0, 3.0, 4.0], True)
y = torch.zeros(4)
y[0] = w[0]
for i in range(1, 4):
    y[i] = y[i - 1].clone() * w[i]
y.sum().backward()
R(y.detach(), w.grad)
""",
    "view_inplace": """
w = T([1.0, 2.0, 3.0, 4.0], True)
x = w * 2
v = x.view(2, 2)
v.mul_(3)
(x * x).sum().backward()
R(x.detach(), w.grad)
""",
    "view_inplace_use_view": """
w = T([1.0, 2.0, 3.0, 4.0], True)
x = w * 2
v = x.view(2, 2)
x.mul_(3)
(v * v).sum().backward()
R(v.detach(), w.grad)
""",
    "two_views": """
w = T([1.0, 2.0, 3.0, 4.0], True)
x = w * 2
a = x[:2]
b = x[1:]
a.mul_(3)
b.add_(a.sum())
(x * b.sum()).sum().backward()
R(x.detach(), b.detach(), w.grad)
""",
    "view_of_view": """
w = torch.arange(12.0).reshape(3, 4).requires_grad_()
x = w + 1
a = x[1:]
b = a.t()
c = b[1:3]
c.mul_(2.0)
b[0].add_(1)
(x ** 2).sum().backward()
R(x.detach(), a.detach(), b.detach(), w.grad)
""",
    "untracked_sibling": """
w = T([1.0, 2.0], True)
y = torch.zeros(2, 2)
q = y.view(4)
y[0] = w
(q * q).sum().backward()
R(q.detach(), w.grad, q.requires_grad)
""",
    "untracked_sibling_read_before": """
w = T([1.0, 2.0], True)
y = torch.ones(2, 2)
q = y.view(4)
s = (q * 3).sum()
y[0] = w
t = (q * q).sum() + s
t.backward()
R(q.detach(), w.grad, s.requires_grad)
""",
    "nograd_w0": """
w = T([1.0, 2.0], True)
with torch.no_grad():
    w[0] = 5.0
(w * w).sum().backward()
R(w.detach(), w.grad)
""",
    "data_index": """
w = T([1.0, 2.0], True)
w.data[0] = 7.0
w.data.mul_(2)
(w * w).sum().backward()
R(w.detach(), w.grad)
""",
    "scalar_view": """
x = torch.zeros(2, 2)
x[0, 0].add_(1)
s = x[1, 1]
s += 2
s.mul_(3)
R(x)
""",
    "scalar_view_grad": """
w = T([1.0, 2.0], True)
x = w * 1
s = x[0]
s.mul_(5)
(x * x).sum().backward()
R(x.detach(), w.grad)
""",
    "grad_alias": """
w = T([1.0, 2.0], True)
(w * w).sum().backward()
g = w.grad
(w * w).sum().backward()
R(g, w.grad, g is w.grad)
""",
    "grad_zero_alias": """
w = T([1.0, 2.0], True)
(w * w).sum().backward()
g = w.grad
w.grad.zero_()
(w * w).sum().backward()
R(g, w.grad)
""",
    "diag_write": """
w = T([1.0, 2.0, 3.0], True)
m = torch.zeros(3, 3)
m[[0, 1, 2], [0, 1, 2]] = w
(m @ m).sum().backward()
R(m.detach(), w.grad)
""",
    "transposed_write": """
w = T([1.0, 2.0, 3.0], True)
m = torch.zeros(2, 3)
m.t()[:, 0] = w
m[1] = m[0] * 2
(m ** 2).sum().backward()
R(m.detach(), w.grad)
""",
    "step_slices": """
w = torch.arange(6.0).requires_grad_()
x = w * 1
x[::2] = x[1::2].clone() * 2
(x ** 2).sum().backward()
R(x.detach(), w.grad)
""",
    "neg_slice": """
w = torch.arange(6.0).requires_grad_()
x = w * 1
x[-2:] *= 3
(x ** 2).sum().backward()
R(x.detach(), w.grad)
""",
    "chain_inplace": """
w = T([1.0, 2.0], True)
x = w * 2
x += 1
x *= 3
x -= w
x /= 2
(x * w).sum().backward()
R(x.detach(), w.grad)
""",
    "broadcast_assign": """
w = T([1.0, 2.0, 3.0], True)
m = torch.zeros(2, 3)
m[:] = w
m[0, :] = w.unsqueeze(0)
(m * m).sum().backward()
R(m.detach(), w.grad)
""",
    "detach_then": """
w = T([1.0, 2.0], True)
x = w * 2
z = (x * 3).sum()
y = x.detach()
y2 = y * 2
z.backward()
R(y2, w.grad, y.requires_grad)
""",
    "detach_view": """
w = T([1.0, 2.0], True)
x = w * 2
x[0:1].detach_()
""",
    "view_nograd_then": """
w = T([1.0, 2.0], True)
x = w * 2
with torch.no_grad():
    v = x.view(2, 1)
v.mul_(w.view(2, 1))
""",
    "leaf_view_refused": """
w = T([1.0, 2.0], True)
w.view(2, 1).mul_(2)
""",
    "unbind_iter": """
w = torch.arange(4.0).reshape(2, 2).requires_grad_()
x = w * 1
s = 0.0
for r in x:
    s = s + (r * r).sum()
s.backward()
R(w.grad)
""",
    "grad_wrt_view": """
w = T([1.0, 2.0, 3.0], True)
x = w * 2
v = x[:2]
x.mul_(2)
y = (v * v).sum()
g = torch.autograd.grad(y, v, retain_graph=True)
h = torch.autograd.grad(y, w)
R(g[0], h[0])
""",
    "retain_view": """
w = T([1.0, 2.0, 3.0], True)
x = w * 2
x.retain_grad()
v = x[:2]
(v * v).sum().backward()
R(x.grad, w.grad)
""",
    "contiguous_view": """
x = torch.arange(6.0).reshape(2, 3).t()
x.view(6)
""",
    "copy_broadcast": """
w = T([1.0, 2.0], True)
y = torch.zeros(2, 2)
y.copy_(w)
y[0].copy_(w * 3)
y.sum().backward()
R(y.detach(), w.grad)
""",
    "fill_zero": """
w = T([1.0, 2.0, 3.0], True)
x = w * 2
x[1:].zero_()
x[0:1].fill_(4.0)
(x * w).sum().backward()
R(x.detach(), w.grad)
""",
    "swap_rows": """
w = torch.arange(4.0).reshape(2, 2).requires_grad_()
x = w * 1
x[[0, 1]] = x[[1, 0]]
(x * torch.tensor([[1.0, 2.0], [3.0, 4.0]])).sum().backward()
R(x.detach(), w.grad)
""",
    "accumulate_rows": """
w = T([1.0, 2.0, 3.0], True)
acc = torch.zeros(3)
for i in range(3):
    acc[:i + 1] += w[:i + 1] * i
(acc * acc).sum().backward()
R(acc.detach(), w.grad)
""",
    "int_view": """
x = torch.arange(4)
v = x.view(2, 2)
v += 1
x[0] = 9
R(x, v)
""",
    "reshape_grad_base_changed_nograd": """
w = T([1.0, 2.0, 3.0, 4.0], True)
x = w * 2
v = x.view(2, 2)
with torch.no_grad():
    x.mul_(10)
v.sum().backward()
R(v.detach(), w.grad)
""",
    "needed": """
w = T([1.0, 2.0, 3.0, 4.0], True)
x = w * 2
y = (x * x).sum()
x[0] = 1.0
y.backward()
""",
    "unneeded": """
w = T([1.0, 2.0, 3.0, 4.0], True)
x = w * 2
y = (x + x).sum()
x[0] = 1.0
y.backward()
R(w.grad)
""",
    "setitem_strip": """
w = T([1.0, 2.0, 3.0], True)
x = torch.zeros(2, 3)
x[0] = w.view(1, 3)
x[1] = w.view(1, 1, 3) * 2
x.sum().backward()
R(x.detach(), w.grad)
""",
    "leaf_view_req": """
base = torch.zeros(2, 2)
v = base[0].requires_grad_()
(v * 3).sum().backward()
R(v.grad, v.is_leaf, base.requires_grad)
""",
    "masked_view": """
w = torch.arange(6.0).reshape(2, 3).requires_grad_()
x = w * 1
v = x[1]
v[v > 3.5] = 0.0
(x * x).sum().backward()
R(x.detach(), w.grad)
""",
    "none_ellipsis": """
w = torch.arange(6.0).reshape(2, 3).requires_grad_()
x = w * 1
x[..., None, 0] = 7.0
x[None, 1] *= 2
(x * x).sum().backward()
R(x.detach(), w.grad)
""",
    "view_read_before_and_after": """
w = T([0.5, -1.0, 1.5, 2.0], True)
x = w * 1.0
v = x.view(4)
y = v.exp()
x.view(2, 2).neg_()
((v * v).sum() + (y * y).sum()).backward()
R(v.detach(), y.detach(), w.grad)
""",
    "view_times_before_and_after": """
w = T([-0.5, -1.75, 0.5], True)
x = w.exp() * 0.1
x += 1.5
v = x.unsqueeze(1)
y = v * 1.5
v[0] = 0.7
((v * v).sum() + (y * y).sum()).backward()
R(x.detach(), w.grad)
""",
    "zeroed_still_requires": """
w = T([1.0, 2.0], True)
x = w * 2
x.zero_()
x.sum().backward()
R(x.detach(), w.grad, x.requires_grad, x.is_leaf)
""",
    "scalar_mask": """
w = T([0.1, 2.0], True)
x = w * 2
s = x[1]
s[s > 0.2] = 0.5
(x * x).sum().backward()
R(x.detach(), w.grad)
""",
    "scalar_unsqueezed": """
w = T([2.0, 3.0], True)
s = w[0] ** 2
v = s.unsqueeze(0)
s.mul_(3)
(v * v).sum().backward()
R(v.detach(), w.grad)
""",
    "in_a_view_by_view_leaf": """
w = torch.tensor([1.0, 2.0, 3.0, 4.0]).reshape(2, 2).requires_grad_()
w[0, 1] = 4.0
""",
    "gradient_of_another_shape": """
w = T([1.0, 2.0], True)
w.grad = torch.ones(3)
""",
    "gradient_of_another_dtype": """
w = T([1.0, 2.0], True)
w.grad = torch.ones(2, dtype=torch.float64)
""",
    "gradient_given": """
w = T([1.0, 2.0], True)
w.grad = torch.ones(2)
(w * w).sum().backward()
R(w.grad)
""",
    "view_of_a_copy": """
x = torch.arange(24.0).reshape(2, 3, 4).transpose(0, 1)
y = x.contiguous().view(-1)
y.add_(1)
R(x, torch.arange(24.0).reshape(2, 3, 4)[:, :, :2].view(2, 3, 2, 1))
""",
}
