"""Modules by hand: every module has an fprop and a bprop, and states hold a value x and its derivative dx.

The modules of the lecture are linear, tanh with bias, and the Euclidean distance, half of |x - y|^2.  They are put
together to a layer, to a net of two layers, to a graph in which one state feeds two modules, and to a loop unfolded in
time, whose steps share their modules.  Going backwards module by module computes what `tf.gradients` derives from the
same formula: it is compared, for every parameter.  At the end the net learns from nothing but fprop and bprop.
"""

import argparse

import numpy as np

import graphflow as tf
from graphflow import eager as torch
from graphflow.demo import iris
from graphflow.eager.states import EuclideanModule, LinearModule, Net, State, TanhModule, chain

rng = np.random.default_rng(0)


def layer(inputs, outputs):
    """Two modules: a linear one, and tanh with bias."""
    return [LinearModule(rng.normal(0, inputs**-0.5, (outputs, inputs))), TanhModule(np.zeros(outputs))]


def with_distance(net, output, desired):
    """The net, and the distance of its output from what is desired: the energy."""
    energy = State()
    return Net([*net.steps, (EuclideanModule(), (output, desired, energy))]), energy


def symbolic(formula, arrays):
    """The derivatives of a formula by these arrays, as a graph derives them."""
    with tf.Graph().as_default() as graph:
        given = [tf.constant(a) for a in arrays]
        derivatives = tf.gradients(formula(*given), given)
        with tf.Session(graph=graph) as session:
            return session.run(derivatives)


def compare(what, by_hand, derived):
    """Print and check the largest difference."""
    largest = max(float(abs(a.numpy() - b).max()) for a, b in zip(by_hand, derived, strict=True))
    print(f"{what}: {len(derived)} derivatives, largest difference from tf.gradients {largest:.1e}")
    assert largest < 1e-12


def two_layers():
    """x -> linear -> tanh -> linear -> tanh -> distance from y."""
    modules = layer(3, 5) + layer(5, 2)
    first, out, desired = State(rng.normal(size=(4, 3))), State(), State(rng.normal(size=(4, 2)))
    net, _ = with_distance(chain(modules, first, out), out, desired)
    net.fprop()
    net.bprop()

    def formula(x, y, w1, b1, w2, b2):
        hidden = tf.tanh(tf.matmul(x, w1, transpose_b=True) + b1)
        return tf.reduce_sum(tf.square(tf.tanh(tf.matmul(hidden, w2, transpose_b=True) + b2) - y)) / 2

    arrays = [first.x.numpy(), desired.x.numpy(), *(p.detach().numpy() for p in net.learned)]
    derived = symbolic(formula, arrays)
    compare("two layers", [first.dx, desired.dx, *(p.grad for p in net.learned)], derived)


def a_state_that_feeds_two():
    """The distance of what two linear modules make of the same x: dx is the sum of both."""
    left, right = LinearModule(rng.normal(size=(2, 3))), LinearModule(rng.normal(size=(2, 3)))
    first, a, b, energy = State(rng.normal(size=(4, 3))), State(), State(), State()
    net = Net([(left, (first, a)), (right, (first, b)), (EuclideanModule(), (a, b, energy))])
    net.fprop()
    net.bprop()

    def formula(x, w, v):
        apart = tf.matmul(x, w, transpose_b=True) - tf.matmul(x, v, transpose_b=True)
        return tf.reduce_sum(tf.square(apart)) / 2

    derived = symbolic(formula, [first.x.numpy(), *(p.detach().numpy() for p in net.learned)])
    compare("a state that feeds two modules", [first.dx, *(p.grad for p in net.learned)], derived)


def unfolded_in_time(steps):
    """x(t + 1) = tanh(W x(t) + b): the same two modules at every step."""
    modules = layer(3, 3)
    first, last, desired = State(rng.normal(size=(1, 3))), State(), State(rng.normal(size=(1, 3)))
    net, _ = with_distance(chain(modules * steps, first, last), last, desired)
    net.fprop()
    net.bprop()

    def formula(x, y, w, b):
        for _ in range(steps):
            x = tf.tanh(tf.matmul(x, w, transpose_b=True) + b)
        return tf.reduce_sum(tf.square(x - y)) / 2

    arrays = [first.x.numpy(), desired.x.numpy(), *(p.detach().numpy() for p in net.learned)]
    derived = symbolic(formula, arrays)
    compare(f"{steps} steps in time", [first.dx, desired.dx, *(p.grad for p in net.learned)], derived)


def learn(rounds):
    """Three species of flowers; the states' values change, the net stays."""
    flowers = iris.load()
    x = (flowers.petals - flowers.petals.mean(0)) / flowers.petals.std(0)
    y = np.where(np.eye(3)[flowers.species] > 0, 1.0, -1.0)
    first, out, desired = State(x.astype(np.float64)), State(), State(y)
    net, energy = with_distance(chain(layer(2, 8) + layer(8, 3), first, out), out, desired)
    for turn in range(rounds):
        net.zero()
        net.fprop()
        net.bprop()
        if turn == 0:
            start = energy.value.item()
        with torch.no_grad():
            for p in net.learned:
                p -= 0.003 * p.grad
    right = (out.value.numpy().argmax(1) == flowers.species).mean()
    print(f"learning: energy {start:.1f} -> {energy.value.item():.1f}, {right:.3f} of the flowers named")
    assert energy.value.item() < 0.2 * start and right > 0.93


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--quick", action="store_true", help="learn for 500 rounds instead of 3000")
    quick = options.parse_args().quick
    two_layers()
    a_state_that_feeds_two()
    unfolded_in_time(8)
    learn(500 if quick else 3000)


if __name__ == "__main__":
    main()
