"""Programs with functions of the user's own, hooks, and whole Jacobians.

What PyTorch makes of them is in `tests/gradient_answers.json`.

State: none.
"""

from __future__ import annotations

FUNCTIONS = """
class Cube(torch.autograd.Function):

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x ** 3

    @staticmethod
    def backward(ctx, g):
        x, = ctx.saved_tensors
        return g * 3 * x ** 2


class Exp(torch.autograd.Function):

    @staticmethod
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        y, = ctx.saved_tensors
        return g * y


class Two(torch.autograd.Function):

    @staticmethod
    def forward(ctx, x, k, y):
        ctx.k = k
        ctx.save_for_backward(x, y)
        return (x * y, x * k)

    @staticmethod
    def backward(ctx, a, b):
        x, y = ctx.saved_tensors
        return (a * y + b * ctx.k, None, a * x)


class Setup(torch.autograd.Function):

    @staticmethod
    def forward(x, k):
        return x * k

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.k = inputs[1]

    @staticmethod
    def backward(ctx, g):
        return (g * ctx.k, None)


class NoMat(torch.autograd.Function):

    @staticmethod
    def forward(ctx, x):
        ctx.set_materialize_grads(False)
        return (x * 1, x * 2)

    @staticmethod
    def backward(ctx, a, b):
        return a * 10 if b is None else b


class Round(torch.autograd.Function):

    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, g):
        return g


class Arg(torch.autograd.Function):

    @staticmethod
    def forward(ctx, x):
        i = x.argmax()
        m = x.max()
        ctx.mark_non_differentiable(i)
        ctx.i = i
        ctx.n = x.shape[0]
        return (m, i)

    @staticmethod
    def backward(ctx, g, _):
        z = torch.zeros(ctx.n)
        z[ctx.i] = g
        return z


class Once(torch.autograd.Function):

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x ** 2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        x, = ctx.saved_tensors
        return 2 * x * g


class Ident(torch.autograd.Function):

    @staticmethod
    def forward(ctx, x):
        return x

    @staticmethod
    def backward(ctx, g):
        return -g
"""

PROGRAMS: dict[str, str] = {
    "cube": """
x = T([1.0, 2.0], True)
y = Cube.apply(x)
y.sum().backward()
R(y.detach(), x.grad, y.requires_grad, y.is_leaf, type(y.grad_fn).__name__)
""",
    "cube2": """
x = T([1.0, 2.0], True)
y = Cube.apply(x * 2)
g, = torch.autograd.grad(y.sum(), x, create_graph=True)
g.sum().backward()
R(g.detach(), x.grad)
""",
    "exp3": """
x = T([1.0, 0.5], True)
y = Exp.apply(x)
g, = torch.autograd.grad(y.sum(), x, create_graph=True)
h, = torch.autograd.grad(g.sum(), x, create_graph=True)
h.sum().backward()
R(g.detach(), h.detach(), x.grad)
""",
    "two": """
x, y = (T([1.0, 2.0], True), T([3.0, 4.0], True))
a, b = Two.apply(x, 5.0, y)
(a * b).sum().backward()
R(x.grad, y.grad)
""",
    "two_one": """
x, y = (T([1.0, 2.0], True), T([3.0, 4.0], True))
a, b = Two.apply(x, 5.0, y)
b.sum().backward()
R(x.grad, y.grad)
""",
    "setup": """
x = T([1.0, 2.0], True)
Setup.apply(x, 3.0).sum().backward()
R(x.grad)
""",
    "nomat": """
x = T([1.0, 2.0], True)
NoMat.apply(x)[0].sum().backward()
y = T([1.0, 2.0], True)
NoMat.apply(y)[1].sum().backward()
R(x.grad, y.grad)
""",
    "ste": """
x = T([1.4, 2.6], True)
(Round.apply(x) * x).sum().backward()
R(x.grad)
""",
    "arg": """
x = T([1.0, 5.0, 2.0], True)
m, i = Arg.apply(x)
(m * m).backward()
R(x.grad, i.requires_grad, i)
""",
    "once_ok": """
x = T([1.0, 5.0, 2.0], True)
Once.apply(x).sum().backward()
R(x.grad)
""",
    "once_twice": """
x = T([1.0, 5.0, 2.0], True)
g, = torch.autograd.grad(Once.apply(x).sum(), x, create_graph=True)
g.sum().backward()
""",
    "ident": """
x = T([1.0, 2.0], True)
y = Ident.apply(x)
(y * 3).sum().backward()
R(x.grad, y.detach())
""",
    "fn_twice_freed": """
x = T([1.0, 2.0], True)
y = Cube.apply(x).sum()
y.backward()
y.backward()
""",
    "fn_saved_changed": """
w = T([1.0, 2.0], True)
x = w * 1
y = Cube.apply(x).sum()
x.add_(1)
y.backward()
""",
    "fn_nograd": """
x = T([1.0, 2.0], True)
with torch.no_grad():
    y = Cube.apply(x)
R(y, y.requires_grad)
""",
    "hook": """
x = T([1.0, 2.0], True)
x.register_hook(lambda g: g * 10)
(x * x).sum().backward()
R(x.grad)
""",
    "hook_mid": """
x = T([1.0, 2.0], True)
h = x * 3
seen = []
k = h.register_hook(lambda g: seen.append(g.tolist()))
h.register_hook(lambda g: g * 2)
z = (h * h).sum() + h.sum()
del h
z.backward()
R(x.grad, seen)
""",
    "hook_remove": """
x = T([1.0, 2.0], True)
h = x.register_hook(lambda g: g * 10)
(x * x).sum().backward()
h.remove()
(x * x).sum().backward()
R(x.grad)
""",
    "hook_inplace": """
w = T([1.0, 2.0], True)
x = w * 2
x.register_hook(lambda g: g * 100)
x.mul_(3)
(x * x).sum().backward()
R(w.grad)
""",
    "hook_create": """
x = T([1.0, 2.0], True)
x.register_hook(lambda g: g * x)
y = (x ** 2).sum()
g, = torch.autograd.grad(y, x, create_graph=True)
R(g.detach(), g.requires_grad)
""",
    "post": """
x = T([1.0, 2.0], True)
seen = []
x.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.tolist()))
(x * x).sum().backward()
(x * x).sum().backward()
R(seen)
""",
    "retain": """
x = T([1.0, 2.0], True)
h = x * 2
h.retain_grad()
(h * h).sum().backward()
R(h.grad, x.grad, h.retains_grad if hasattr(h, 'retains_grad') else None)
""",
    "jac": """
F = torch.autograd.functional
R(F.jacobian(lambda x: (x ** 2).sum(0), torch.arange(6.0).reshape(2, 3)))
""",
    "jac_tuple": """
F = torch.autograd.functional
r = F.jacobian(lambda x, y: (x * y, x.sum()), (torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])))
R([[v.tolist() for v in q] for q in r])
""",
    "jac_unused": """
F = torch.autograd.functional
r = F.jacobian(lambda x, y: x * 2, (torch.ones(2), torch.ones(3)))
R([v.tolist() for v in r])
""",
    "jac_const": """
F = torch.autograd.functional
R(F.jacobian(lambda x: torch.ones(2) * 1, torch.ones(3)))
""",
    "hess": """
F = torch.autograd.functional
R(F.hessian(lambda x: (x ** 3).sum() + x[0] * x[1], torch.tensor([1.0, 2.0])))
""",
    "hess2": """
F = torch.autograd.functional
r = F.hessian(lambda x, y: (x ** 2 * y).sum(), (torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])))
R([[v.tolist() for v in q] for q in r])
""",
    "hess_lin": """
F = torch.autograd.functional
r = F.hessian(lambda x: (x * 2).sum(), torch.tensor([1.0, 2.0]))
R(r)
""",
    "vjp": """
F = torch.autograd.functional
o, g = F.vjp(lambda x: x ** 2, torch.tensor([1.0, 2.0]), torch.tensor([1.0, 10.0]))
R(o, g)
""",
    "jvp": """
F = torch.autograd.functional
o, g = F.jvp(lambda x: (x ** 2).sum(), torch.tensor([1.0, 2.0]), torch.tensor([1.0, 10.0]))
R(o, g)
""",
    "jvp2": """
F = torch.autograd.functional
x = (torch.tensor([1.0, 2.0]), torch.tensor([3.0, 2.0]))
o, g = F.jvp(lambda x, y: x * y + x, x, (torch.tensor([1.0, 10.0]), torch.tensor([0.0, 1.0])))
R(o, g)
""",
    "jvp_lin": """
F = torch.autograd.functional
o, g = F.jvp(lambda x: x.sum(), torch.tensor([1.0, 2.0]), torch.tensor([1.0, 10.0]))
R(o, g)
""",
    "hvp": """
F = torch.autograd.functional
o, g = F.hvp(lambda x: (x ** 3).sum(), torch.tensor([1.0, 2.0]), torch.tensor([1.0, 10.0]))
R(o, g)
""",
    "vhp": """
F = torch.autograd.functional
o, g = F.vhp(lambda x: (x ** 3).sum() * x[0], torch.tensor([1.0, 2.0]), torch.tensor([1.0, 10.0]))
R(o, g)
""",
    "vhp_lin": """
F = torch.autograd.functional
o, g = F.vhp(lambda x: x.sum(), torch.tensor([1.0, 2.0]), torch.tensor([1.0, 10.0]))
R(o, g)
""",
    "backward_inputs": """
a, b = (T([1.0, 2.0], True), T([3.0, 4.0], True))
(a * b).sum().backward(inputs=[a])
R(a.grad, b.grad)
""",
    "autograd_backward_many": """
a = T([1.0, 2.0], True)
y = a * 2
z = a * 3
torch.autograd.backward([y, z], [torch.ones(2), torch.tensor([1.0, 0.0])])
R(a.grad)
""",
    "grad_user_alias": """
w = T([1.0, 2.0], True)
g = torch.ones(2)
w.grad = g
(w * w).sum().backward()
R(g)
""",
    "create_graph_accumulate": """
w = T([1.0, 2.0], True)
(w ** 3).sum().backward(create_graph=True)
g = w.grad
(w ** 3).sum().backward()
R(g.detach(), w.grad.detach(), g is w.grad)
""",
    "loss_alias": """
w = T([2.0], True)
l = (w * w).sum()
d = l.detach()
d.add_(1.0)
R(l.detach(), d)
""",
    "hook_of_another_shape": """
x = T([1.0, 2.0], True)
x.register_hook(lambda g: torch.ones(3))
x.sum().backward()
""",
    "hook_without_gradient": """
torch.ones(2).register_hook(lambda g: g)
""",
    "anomaly_log": """
x = T([-1.0, 1.0], True)
with torch.autograd.detect_anomaly():
    (x.sqrt() * 2).sum().backward()
""",
    "anomaly_set": """
x = T([-1.0, 1.0], True)
with torch.autograd.set_detect_anomaly(True):
    (x.sqrt() * 2).sum().backward()
""",
    "anomaly_set_off": """
torch.autograd.set_detect_anomaly(True)
torch.autograd.set_detect_anomaly(False)
x = T([0.0, 4.0], True)
x.sqrt().sum().backward()
R(x.grad[1])
""",
    "grad_unused": """
a, b = T([1.0, 2.0], True), T([3.0, 4.0], True)
torch.autograd.grad((a * 2).sum(), [a, b])
""",
    "grad_materialized": """
a, b = T([1.0, 2.0], True), T([3.0, 4.0], True)
R(torch.autograd.grad((a * 2).sum(), [a, b], materialize_grads=True))
""",
    "jacobian_recorded": """
F = torch.autograd.functional
x = T([1.0, 2.0], True)
j = F.jacobian(lambda x: x ** 3, x, create_graph=True)
j.sum().backward()
R(j.detach(), x.grad)
""",
    "optimizer_in_backward": """
x = T([1.0, 2.0], True)
def step(p):
    with torch.no_grad():
        p.sub_(p.grad * 0.1)
    p.grad = None
x.register_post_accumulate_grad_hook(step)
(x * x).sum().backward()
R(x.detach(), x.grad is None)
""",
}
