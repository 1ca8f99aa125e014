"""What to say when a name of TensorFlow's is not there.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence

# Names that TF1 programs reach for first, and what to use instead.
_INSTEAD = {
    "layers": "tf.nn and tf.get_variable build layers; the examples show how",
    "contrib": "tf.initializers.xavier_initializer is there; most of the rest is in tf.nn and tf.train",
    "app": "call main() yourself; argparse reads flags",
    "flags": "argparse reads flags",
    "data": "feed batches through feed_dict",
    "losses": "tf.reduce_mean of a tf.nn loss",
    "metrics": "tf.reduce_mean(tf.cast(tf.equal(a, b), tf.float32)) is an accuracy",
    "gfile": "os.path, open and shutil",
    "estimator": "a tf.Session and a loop",
    "keras": "tf.nn, tf.get_variable and tf.train",
    "TensorArray": "tf.map_fn and tf.scan stack what a function returns for each row",
    "SparseTensor": "tf.gather and tf.scatter_nd work on dense tensors and indices",
}


def explain(name: str, known: Sequence[str]) -> str:
    """The text of the AttributeError."""
    text = f"graphflow has no {name!r}"
    instead = _INSTEAD.get(name)
    if instead is not None:
        return f"{text}: {instead} (README, Limits)"
    import difflib  # a mistyped name is rare

    near = difflib.get_close_matches(name, [k for k in known if not k.startswith("_")], n=1)
    return (
        f"{text}; did you mean {near[0]!r}?"
        if near
        else f"{text} (the README's Limits say what TensorFlow 1 has and this not)"
    )
