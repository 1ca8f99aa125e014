"""Why backward accumulates: gradients of several batches, one step; eager and as a graph, equal to the last bit.

A batch that does not fit into memory is cut into pieces.  Two forward passes and two backward passes before one step
move the parameters along -(g1 + g2), the sum of the pieces' gradients.  In eager mode that is what `.grad` is for: each
`backward()` adds to it until `zero_grad()`.  In a graph the sum is written down: one addition for each parameter.
All is float64, and both ways end with the same bits.
"""

import argparse

import numpy as np

import graphflow as tf
from graphflow import eager as torch
from graphflow.demo import iris
from graphflow.eager import nn, optim

PIECES, RATE = 3, 0.3


def data():
    """Flowers in pieces of 50: petals, and the species as probabilities."""
    flowers = iris.load()
    order = np.random.default_rng(0).permutation(len(flowers.species))
    petals = flowers.petals[order].astype(np.float64)
    species = np.eye(3)[flowers.species[order]]
    return np.split((petals - petals.mean(0)) / petals.std(0), PIECES), np.split(species, PIECES)


def build():
    """A classifier; every call gives one with the same parameters."""
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 3)).double()


def one_step_by_hand(xs, ys):
    """What accumulation is: the gradients of two pieces apart, their sum, and the step along it."""
    model, criterion = build(), nn.CrossEntropyLoss()
    gradients = []
    for x, y in zip(xs[:2], ys[:2], strict=True):
        model.zero_grad()
        criterion(model(torch.tensor(x)), torch.tensor(y)).backward()
        gradients.append([p.grad for p in model.parameters()])
    by_hand = [p.detach() - (g1 + g2) * RATE for p, g1, g2 in zip(model.parameters(), *gradients, strict=True)]

    model.zero_grad()
    for x, y in zip(xs[:2], ys[:2], strict=True):
        criterion(model(torch.tensor(x)), torch.tensor(y)).backward()
    optim.SGD(model.parameters(), lr=RATE).step()
    return all(bool((p.detach() == q).all()) for p, q in zip(model.parameters(), by_hand, strict=True))


def train_eagerly(xs, ys, steps):
    """The pieces one after another; `.grad` keeps the sum."""
    model, criterion = build(), nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), lr=RATE)
    for _ in range(steps):
        optimizer.zero_grad()
        for x, y in zip(xs, ys, strict=True):
            loss = criterion(model(torch.tensor(x)), torch.tensor(y)) / PIECES
            loss.backward()
        optimizer.step()
    return model


def train_in_a_graph(xs, ys, steps):
    """The same classifier on placeholders; the sum is part of the graph, and so is the step."""
    model, criterion = build(), nn.CrossEntropyLoss()
    with tf.Graph().as_default() as graph:
        optimizer = tf.train.GradientDescentOptimizer(RATE)
        feeds, total = {}, None
        for x, y in zip(xs, ys, strict=True):
            petals, species = tf.placeholder(tf.float64, x.shape), tf.placeholder(tf.float64, y.shape)
            feeds |= {petals: x, species: y}
            pairs = optimizer.compute_gradients(criterion(model(petals), species) / PIECES)
            total = pairs if total is None else [(a + b, v) for (a, v), (b, _) in zip(total, pairs, strict=True)]
        step = optimizer.apply_gradients(total)
        with tf.Session(graph=graph) as session:
            session.run(tf.global_variables_initializer())
            for _ in range(steps):
                session.run(step, feeds)
            model.load_from_session(session)
    return model


def accuracy(model, xs, ys):
    """The share of flowers whose species the model names."""
    with torch.no_grad():
        named = model(torch.tensor(np.concatenate(xs))).argmax(1).numpy()
    return (named == np.concatenate(ys).argmax(1)).mean()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--quick", action="store_true", help="100 steps instead of 400")
    steps = 100 if options.parse_args().quick else 400

    xs, ys = data()
    same = one_step_by_hand(xs, ys)
    print(f"two backwards and one step: the parameters moved along -(g1 + g2), to the last bit: {same}")
    assert same

    eager, lazy = train_eagerly(xs, ys, steps), train_in_a_graph(xs, ys, steps)
    for name, model in (("eager", eager), ("graph", lazy)):
        print(f"{name}: accuracy {accuracy(model, xs, ys):.3f} after {steps} steps of {PIECES} pieces")
    assert accuracy(eager, xs, ys) >= 0.93
    for (name, a), (_, b) in zip(eager.named_parameters(), lazy.named_parameters(), strict=True):
        equal = a.detach().numpy().tobytes() == b.detach().numpy().tobytes()
        print(f"  {name:9} {list(a.shape)!s:8} equal to the last bit: {equal}")
        assert equal


if __name__ == "__main__":
    main()
