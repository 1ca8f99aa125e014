"""Eager mode in PyTorch's spelling: the same program, other import lines.

First the five steps, on Fisher's flowers: prediction, loss, no gradients of before, backward, step.  Then, where
scikit-learn is installed, the program that everybody writes for MNIST, on the digits that scikit-learn ships (enlarged
to 28 x 28): a class of three layers, log-softmax, mini-batches, `train()` and `eval()`, accuracy without gradients.
At the end the trained model is called on a placeholder: the same class builds a graph, and the graph computes the same
numbers to the last bit.
"""

import argparse

import numpy as np

import graphflow as tf
from graphflow import eager as torch
from graphflow.demo import iris
from graphflow.eager import nn, optim
from graphflow.eager.nn import functional as F
from graphflow.eager.utils.data import DataLoader, TensorDataset

try:
    from sklearn.datasets import load_digits
except ModuleNotFoundError:
    load_digits = None


def five_steps(steps):
    """A classifier of flowers: three species by the length and the width of a petal."""
    train, test = iris.split(iris.load(), np.random.default_rng(0))
    X, y = torch.tensor(train.petals), torch.tensor(train.species)
    model = nn.Sequential(nn.Linear(2, 20), nn.ReLU(), nn.Linear(20, 3))
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    losses = []
    for _ in range(steps):
        y_pred = model(X)  # 1. the prediction
        loss = criterion(y_pred, y)  # 2. the loss
        optimizer.zero_grad()  # 3. no gradients of before
        loss.backward()  # 4. compute the gradients and accumulate them
        optimizer.step()  # 5. a step
        losses.append(loss.item())
    with torch.no_grad():
        right = model(torch.tensor(test.petals)).argmax(1) == torch.tensor(test.species)
    return losses, right.float().mean().item()


class MLP(nn.Module):
    """784 -> h1 -> h2 -> 10, log-softmax."""

    def __init__(self, hidden1, hidden2):
        super().__init__()
        self.fc1 = nn.Linear(28 * 28, hidden1)
        self.fc2 = nn.Linear(hidden1, hidden2)
        self.fc3 = nn.Linear(hidden2, 10)

    def forward(self, x):
        """Images [batch, 1, 28, 28] to the logarithms of the probabilities of the digits."""
        x = x.view(-1, 28 * 28)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return F.log_softmax(self.fc3(x), dim=1)


def digits():
    """Images in [0, 1] with their labels: four fifths to train on, one fifth held out."""
    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    large = np.kron(found.images[order] / 16.0, np.ones((3, 3)))
    images = np.pad(large, ((0, 0), (2, 2), (2, 2))).astype(np.float32)[:, np.newaxis]
    sets = TensorDataset(torch.tensor(images), torch.tensor(found.target[order]))
    held_out = len(images) // 5
    return TensorDataset(*sets[held_out:]), TensorDataset(*sets[:held_out])


def train(model, loader, optimizer):
    """One epoch; returns the mean loss."""
    model.train()
    total = 0.0
    for data, target in loader:
        optimizer.zero_grad()
        loss = F.nll_loss(model(data), target)
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / len(loader)


@torch.no_grad()
def accuracy(model, loader):
    """The share of images whose digit the model names."""
    model.eval()
    right = sum((model(data).argmax(dim=1) == target).sum().item() for data, target in loader)
    return right / len(loader.dataset)


def read_digits(epochs):
    """The MNIST program; returns the model, an accuracy and a batch of images."""
    train_set, test_set = digits()
    train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
    test_loader = DataLoader(test_set, batch_size=128)
    model = MLP(128, 64)
    print(model)
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for epoch in range(1, epochs + 1):
        loss = train(model, train_loader, optimizer)
        print(f"epoch {epoch:2}: mean loss {loss:.3f}, held-out accuracy {accuracy(model, test_loader):.3f}")
    return model, accuracy(model, test_loader), next(iter(test_loader))[0]


def as_a_graph(model, inputs):
    """What the model computes of the inputs in a graph; and how many ops the graph has."""
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [None, *inputs.shape[1:]], name="x")
        output = model(x)
        with tf.Session(graph=graph) as session:
            session.run(tf.global_variables_initializer())
            return session.run(output, {x: inputs.numpy()}), len(graph)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--quick", action="store_true", help="6 epochs of digits instead of 15")
    epochs = 6 if options.parse_args().quick else 15

    torch.manual_seed(1)
    losses, right = five_steps(100)
    print(f"flowers: loss {losses[0]:.3f} -> {losses[-1]:.3f}, held-out accuracy {right:.2f}")
    assert losses[-1] < 0.3 * losses[0] and right >= 0.9

    if load_digits is None:
        print("the digits are those that scikit-learn ships: pip install scikit-learn")
        model, images = MLP(128, 64), torch.rand(5, 1, 28, 28)
    else:
        model, right, images = read_digits(epochs)
        assert right >= 0.92

    with torch.no_grad():
        eagerly = model(images).numpy()
    in_graph, ops = as_a_graph(model, images)
    print(
        f"the same model on a placeholder: a graph of {ops} ops, same bits: {in_graph.tobytes() == eagerly.tobytes()}"
    )
    assert in_graph.tobytes() == eagerly.tobytes()


if __name__ == "__main__":
    main()
