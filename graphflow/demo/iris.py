"""Fisher's Iris data: 150 flowers of three species, four lengths each, in centimetres.

Policy: the table stands beside this module as `iris.csv`, so that the demo needs no network.  It is the table of
R. A. Fisher, "The use of multiple measurements in taxonomic problems", Annals of Eugenics 7 (1936) 179-188, measured
by E. Anderson, and in the public domain; as printed there, without the two slips of the copy in the UCI repository.

State: none.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

SPECIES = ("setosa", "versicolor", "virginica")
FEATURES = ("petal length", "petal width")


class Flowers(NamedTuple):
    """Some flowers: petal length and width in cm, and the species as an index into SPECIES."""

    petals: np.ndarray[Any, Any]
    species: np.ndarray[Any, Any]


def load() -> Flowers:
    """All 150 flowers, with the two lengths that a picture of the plane can show."""
    with (Path(__file__).parent / "iris.csv").open(encoding="ascii", newline="") as file:
        rows = list(csv.DictReader(file))
    petals = np.array([[float(row[feature]) for feature in FEATURES] for row in rows], np.float32)
    species = np.array([SPECIES.index(row["species"]) for row in rows])
    return Flowers(petals, species)


def split(flowers: Flowers, rng: np.random.Generator, held_out: int = 50) -> tuple[Flowers, Flowers]:
    """The flowers in random order, those to train on and those to test on."""
    order = rng.permutation(len(flowers.species))
    test, train = order[:held_out], order[held_out:]
    return Flowers(flowers.petals[train], flowers.species[train]), Flowers(flowers.petals[test], flowers.species[test])
