"""`get_variable`, variable scopes, templates and initializers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphflow as tf
from graphflow import initializers, variables
from graphflow.keys import GraphKeys
from graphflow.ops import control, core, random
from graphflow.template import make_template
from graphflow.variable_scope import (
    AUTO_REUSE,
    VariableScope,
    get_local_variable,
    get_variable,
    get_variable_scope,
    no_regularizer,
    variable_op_scope,
    variable_scope,
)


def values(*fetches: Any) -> list[Any]:
    with tf.Session() as session:
        session.run(variables.global_variables_initializer())
        return session.run(list(fetches))  # type: ignore[no-any-return]


def op_name() -> str:
    """What an op built here is called."""
    return core.no_op(name="op").name  # type: ignore[no-any-return]


class TestGetVariable:
    def test_names_depend_on_variable_scopes_alone(self) -> None:
        with core.name_scope("names"), variable_scope("a"), variable_scope("b"), core.name_scope("more"):
            v = get_variable("w", [2])
            assert op_name() == "names/a/b/more/op"
        assert v.name == "a/b/w:0"
        assert v.op.name == "a/b/w"

    def test_slash_in_a_name(self) -> None:
        assert get_variable("a/w", [1]).name == "a/w:0"

    def test_defaults(self) -> None:
        v = get_variable("v", [3, 4])
        n = get_variable("n", [2], tf.int32)
        f = get_variable("f", [2], tf.bool)
        assert (v.dtype, n.dtype, f.dtype) == (tf.float32, tf.int32, tf.bool)
        weights, zeros, flags = values(v, n, f)
        assert 0 < np.abs(weights).max() <= np.sqrt(6 / 7)
        assert zeros.tolist() == [0, 0]
        assert flags.tolist() == [False, False]
        with pytest.raises(tf.errors.DTypeError, match="initializer for variable t of string is required"):
            get_variable("t", [2], tf.string)

    def test_collections(self) -> None:
        plain = get_variable("plain", [1])
        fixed = get_variable("fixed", [1], trainable=False)
        local = get_local_variable("local", [1])
        own = get_variable("own", [1], collections=["mine"], trainable=False)
        assert variables.global_variables() == [plain, fixed]
        assert variables.trainable_variables() == [plain]
        assert variables.local_variables() == [local]
        assert tf.get_default_graph().get_collection("mine") == [own]

    @pytest.mark.parametrize(
        ("initializer", "wanted"),
        [
            (5.0, 5.0),
            ([1, 2], [1, 2]),
            (np.arange(3.0), [0.0, 1.0, 2.0]),
            (lambda: core.constant([1.5]), [1.5]),
        ],
    )
    def test_values_as_initializers(self, initializer: Any, wanted: Any) -> None:
        assert np.array_equal(values(get_variable("v", initializer=initializer))[0], wanted)

    def test_a_tensor_as_initializer(self) -> None:
        v = get_variable("v", initializer=core.constant([1, 2]) + 1)
        assert v.dtype is tf.int32
        assert values(v)[0].tolist() == [2, 3]

    def test_another_variable_as_initializer(self) -> None:
        a = get_variable("a", [], initializer=initializers.Constant(3.0))
        b = get_variable("b", initializer=a.initialized_value())
        assert values(a, b) == [3.0, 3.0]

    def test_dtype_of_values(self) -> None:
        assert get_variable("a", initializer=np.float64(1)).dtype is tf.float64
        assert get_variable("b", initializer=1).dtype is tf.int32
        assert get_variable("c", dtype=tf.float64, initializer=1).dtype is tf.float64
        with pytest.raises(ValueError, match="don't match"):
            get_variable("d", dtype=tf.float32, initializer=core.constant(1))

    @pytest.mark.parametrize(
        "initializer",
        [
            initializers.Ones(),
            initializers.Ones,
            lambda shape: np.ones(shape, np.float32),
            lambda shape, dtype: core.constant(1.0, dtype, shape),
            lambda shape, dtype=None, partition_info=None: core.constant(1.0, dtype, shape),
            lambda shape, **kwargs: core.constant(1.0, kwargs["dtype"], shape),
        ],
    )
    def test_functions_as_initializers(self, initializer: Any) -> None:
        assert values(get_variable("v", [2, 1], initializer=initializer))[0].tolist() == [[1.0], [1.0]]

    def test_scope_defaults(self) -> None:
        with variable_scope("s", initializer=initializers.Constant(2.0), dtype=tf.float64):
            v = get_variable("v", [1])
            own = get_variable("own", [1], tf.float32, initializer=initializers.Constant(3.0))
            with variable_scope("t", initializer=initializers.Constant(4.0)):
                inner = get_variable("v", [1])
        assert [x.dtype for x in (v, own, inner)] == [tf.float64, tf.float32, tf.float64]
        assert [x.tolist() for x in values(v, own, inner)] == [[2.0], [3.0], [4.0]]

    def test_setters(self) -> None:
        with variable_scope("s") as scope:
            scope.set_initializer(initializers.Constant(2.0))
            scope.set_dtype(tf.float64)
            scope.set_regularizer(lambda v: None)
            scope.set_custom_getter(lambda getter, name, **kwargs: getter(name + "_", **kwargs))
            v = get_variable("v", [1])
        assert (v.name, v.dtype) == ("s/v_:0", tf.float64)

    def test_constraint(self) -> None:
        with variable_scope("s", constraint=abs):
            assert get_variable("v", [1]).constraint is abs

    @pytest.mark.parametrize(
        ("build", "error", "match"),
        [
            (lambda: get_variable("v"), ValueError, r"Shape of a new variable \(v\) must be fully defined"),
            (lambda: get_variable("v", [None, 2]), ValueError, "must be fully defined"),
            (lambda: get_variable("v", [2], initializer=[1.0, 2.0]), ValueError, "do not specify shape"),
            (lambda: get_variable("v", [2], partitioner=3), NotImplementedError, "one piece"),
            (lambda: get_variable("", [2]), TypeError, "non-empty string"),
            (lambda: get_variable(3, [2]), TypeError, "non-empty string"),  # type: ignore[arg-type]
            (lambda: get_variable("v", [2], custom_getter=3), TypeError, "custom_getter"),
            (lambda: get_variable("v", [2], initializer=initializers.xavier_initializer), TypeError, "call"),
            (lambda: get_variable("v", [2], initializer=lambda shape: initializers.Ones()), TypeError, "call it"),
            (lambda: get_variable("v", [2], initializer=initializers.Constant("a")), TypeError, "float32"),
            (lambda: variable_scope(None), TypeError, "name_or_scope is required"),
            (lambda: variable_scope(3), TypeError, "a string or a VariableScope"),
            (lambda: variable_scope("s", reuse="yes"), ValueError, "reuse is True"),
            (lambda: variable_scope(None, "s", reuse=True), ValueError, "reuse cannot be used"),
        ],
    )
    def test_mistakes(self, build: Callable[[], Any], error: type[Exception], match: str) -> None:
        with pytest.raises(error, match=match) as caught:
            build()
        assert isinstance(caught.value, tf.errors.OpError)
        assert "tests/test_variable_scope.py:" in str(caught.value)


class TestReuse:
    def test_existing_without_reuse(self) -> None:
        get_variable("v", [1])
        with pytest.raises(ValueError, match=r"already exists, disallowed(.|\n)*test_variable_scope.py:\d+"):
            get_variable("v", [1])

    def test_reuse_without_existing(self) -> None:
        with variable_scope("s"):
            get_variable("weights", [1])
        with variable_scope("s", reuse=True), pytest.raises(ValueError, match=r"does not exist(.|\n)*'s/weights'"):
            get_variable("weight", [1])

    def test_the_ways_to_reuse(self) -> None:
        with variable_scope("s") as scope:
            v = get_variable("v", [2])
        with variable_scope("s", reuse=True):
            assert get_variable("v") is get_variable("v", [2]) is get_variable("v", [None]) is v
        with variable_scope(scope, reuse=True):
            assert get_variable("v") is v
        with variable_scope("s") as again:
            again.reuse_variables()
            assert get_variable("v") is v
        with variable_scope("s"):
            get_variable_scope().reuse_variables()
            assert get_variable("v") is v
        with variable_scope("s", reuse=AUTO_REUSE):
            assert get_variable("v", [2]) is v
            assert get_variable("new", [2]) is get_variable("new", [2])
        assert len(variables.global_variables()) == 2

    def test_reuse_is_inherited(self) -> None:
        with variable_scope("s"), variable_scope("t"):
            v = get_variable("v", [1])
        with variable_scope("s", reuse=True), variable_scope("t", reuse=False) as inner:
            assert inner.reuse is True
            assert get_variable("v") is v

    def test_reuse_ends_with_the_scope(self) -> None:
        with variable_scope("s", reuse=AUTO_REUSE):
            pass
        assert not get_variable_scope().reuse
        with variable_scope("s") as scope:
            assert not scope.reuse

    def test_the_root_scope(self) -> None:
        v = get_variable("v", [1])
        get_variable_scope().reuse_variables()
        assert get_variable("v") is v
        with variable_scope(get_variable_scope()) as root:
            assert (root.name, root.reuse) == ("", True)
            assert op_name() == "op"

    def test_mismatches(self) -> None:
        get_variable("v", [2, 3])
        get_variable_scope().reuse_variables()
        with pytest.raises(ValueError, match=r"specified shape \[3\] and found shape \[2, 3\]"):
            get_variable("v", [3])
        with pytest.raises(ValueError, match="specified dtype float64 and found dtype float32"):
            get_variable("v", [2, 3], tf.float64)

    def test_a_variable_is_not_found_by_get_variable(self) -> None:
        variables.Variable(0.0, name="v")
        get_variable_scope().reuse_variables()
        with pytest.raises(ValueError, match="was not created with"):
            get_variable("v", [])

    def test_each_graph_for_itself(self) -> None:
        get_variable("v", [1])
        with tf.Graph().as_default() as graph:
            assert get_variable("v", [1]).graph is graph

    def test_inside_a_loop(self) -> None:
        def body(i: Any) -> Any:
            with variable_scope("s", reuse=AUTO_REUSE):
                return i + get_variable("step", initializer=2)

        first = control.while_loop(lambda i: i < 5, body, [0])
        with variable_scope("s", reuse=True):
            step = get_variable("step", dtype=tf.int32)
        assert values(first, step) == [6, 2]


class TestScopes:
    def test_name_scopes(self) -> None:
        with variable_scope("a") as a:
            assert (a.name, a.original_name_scope, op_name()) == ("a", "a/", "a/op")
            with variable_scope("b") as b:
                assert (b.name, b.original_name_scope, op_name()) == ("a/b", "a/b/", "a/b/op")
        with variable_scope("a") as again:
            assert (again.name, again.original_name_scope, op_name()) == ("a", "a_1/", "a_1/op")
        with variable_scope("other"), variable_scope(b) as entered:
            assert (entered.name, entered.original_name_scope, op_name()) == ("a/b", "a/b/", "other/b/op")
            assert get_variable("w", [1]).name == "a/b/w:0"

    def test_default_names_are_made_unique(self) -> None:
        names = []
        for _ in range(2):
            with variable_scope(None, "layer") as scope, variable_scope(None, "inner") as inner:
                names.append((scope.name, inner.name))
        assert names == [("layer", "layer/inner"), ("layer_1", "layer_1/inner")]

    def test_default_names_start_over_in_a_reopened_scope(self) -> None:
        for reuse in (None, True):
            with variable_scope("net", reuse=reuse):
                for number in range(2):
                    with variable_scope(None, "layer"):
                        assert get_variable("w", [1]).name == ("net/layer/w:0", "net/layer_1/w:0")[number]

    def test_a_scope_object_leaves_the_counts_alone(self) -> None:
        with variable_scope("net") as scope:
            with variable_scope(None, "layer"):
                pass
            with variable_scope(scope), variable_scope(None, "layer") as inner:
                assert inner.name == "net/layer_1"
            with variable_scope(None, "layer") as after:
                assert after.name == "net/layer_1"

    def test_default_name_beside_a_name(self) -> None:
        with variable_scope("given", "default") as scope:
            assert scope.name == "given"

    def test_without_a_name_scope(self) -> None:
        with core.name_scope("outside"), variable_scope("a", auxiliary_name_scope=False) as scope:
            assert (scope.name, scope.original_name_scope, op_name()) == ("a", "outside/", "outside/op")

    def test_an_error_inside_leaves_the_scope(self) -> None:
        with pytest.raises(KeyError), variable_scope("a"):
            raise KeyError
        assert get_variable_scope().name == ""
        assert op_name() == "op"

    def test_collections_of_a_scope(self) -> None:
        with variable_scope("a") as scope:
            v, w = get_variable("v", [1]), get_variable("w", [1], trainable=False)
            local = get_local_variable("l", [1])
        get_variable("av", [1])
        assert scope.global_variables() == [v, w]
        assert scope.trainable_variables() == [v]
        assert scope.local_variables() == [local]
        assert len(get_variable_scope().global_variables()) == 3

    def test_one_object_entered_twice(self) -> None:
        scope = variable_scope("a")
        with scope as outer, scope as inner:
            assert (outer.name, inner.name) == ("a", "a/a")
        assert get_variable_scope().name == ""

    def test_the_old_spelling(self) -> None:
        with variable_op_scope([core.constant(1)], None, "old") as scope:
            assert isinstance(scope, VariableScope) and scope.name == "old"
        assert repr(scope) == "<tf.VariableScope 'old' reuse=False>"


class TestRegularizers:
    def test_losses(self) -> None:
        with variable_scope("s", regularizer=lambda v: v * 2.0):
            v = get_variable("v", initializer=3.0)
            get_variable("free", initializer=1.0, regularizer=no_regularizer)
            get_variable("own", initializer=1.0, regularizer=lambda v: v * 7.0)
        losses = tf.get_default_graph().get_collection(GraphKeys.REGULARIZATION_LOSSES)
        assert losses[0].name.startswith("s/v/Regularizer/")
        assert values(*losses) == [6.0, 7.0]
        assert v.name == "s/v:0"

    def test_a_shared_variable_is_regularized_once(self) -> None:
        for reuse in (None, True):
            with variable_scope("s", regularizer=lambda v: v * 2.0, reuse=reuse):
                get_variable("v", [1])
        assert len(tf.get_default_graph().get_collection(GraphKeys.REGULARIZATION_LOSSES)) == 1


class TestCustomGetters:
    def test_sees_the_arguments_and_may_change_the_result(self) -> None:
        seen: list[Any] = []

        def doubled(getter: Any, name: str, *args: Any, **kwargs: Any) -> Any:
            seen.append((name, kwargs["shape"], kwargs["dtype"], kwargs["trainable"]))
            return getter(name, *args, **kwargs) * 2.0

        with variable_scope("s", custom_getter=doubled):
            found = get_variable("v", [1], initializer=initializers.Ones(), trainable=False)
        assert seen == [("s/v", [1], tf.float32, False)]
        assert values(found)[0].tolist() == [2.0]

    def test_inner_calls_outer(self) -> None:
        def adding(letter: str) -> Any:
            return lambda getter, name, **kwargs: getter(name + letter, **kwargs)

        with variable_scope("s", custom_getter=adding("o")), variable_scope("t", custom_getter=adding("i")):
            assert get_variable("v", [1]).name == "s/t/vio:0"
            assert get_variable("w", [1], custom_getter=adding("x")).name == "s/t/wx:0"

    def test_reuse_by_a_getter(self) -> None:
        v = get_variable("v", [1])

        def shared(getter: Any, name: str, **kwargs: Any) -> Any:
            return getter(name, **{**kwargs, "reuse": True})

        with variable_scope("", custom_getter=shared):
            assert get_variable("v", [1]) is v


class TestTemplates:
    def test_variables_are_shared(self) -> None:
        def scale(x: Any, by: Any) -> Any:
            return get_variable("w", initializer=3.0) * x * by

        template = make_template("scale", scale, by=2.0)
        first, second = template(1.0), template(10.0)
        assert values(first, second) == [6.0, 60.0]
        assert [v.name for v in variables.global_variables()] == ["scale/w:0"]
        assert template.variables == template.global_variables == template.trainable_variables
        assert template.variable_scope is template.var_scope and template.var_scope.name == "scale"

    def test_templates_do_not_share(self) -> None:
        def weight() -> Any:
            return get_variable("w", [1])

        one, two = make_template("t", weight), make_template("t", weight)
        assert (one().name, two().name, one().name) == ("t/w:0", "t_1/w:0", "t/w:0")

    def test_unique_name(self) -> None:
        def weight() -> Any:
            return get_variable("w", [1])

        make_template("t", weight, unique_name_="u")()
        with pytest.raises(ValueError, match="already exists"):
            make_template("t", weight, unique_name_="u")()

    def test_scope_now(self) -> None:
        template = make_template("t", lambda: get_variable("w", [1]), create_scope_now_=True)
        with variable_scope("later"):
            assert template() is template()
        assert template().name == "t/w:0"

    def test_in_the_scope_of_the_first_call(self) -> None:
        template = make_template("t", lambda: get_variable("w", [1]))
        with variable_scope("a"):
            v = template()
        assert v.name == "a/t/w:0" and template() is v

    def test_a_new_variable_later(self) -> None:
        template = make_template("t", lambda: variables.Variable(0.0))
        template()
        with pytest.raises(ValueError, match="'t' made a new variable"):
            template()

    def test_mistakes(self) -> None:
        with pytest.raises(TypeError, match="made of a function"):
            make_template("t", 3)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="needs a name"):
            make_template("", len)


def drawn(initializer: Any, shape: Any, dtype: Any = None) -> np.ndarray[Any, Any]:
    with tf.Graph().as_default(), tf.Session() as session:
        tensor = initializer(shape) if dtype is None else initializer(shape, dtype)
        assert tensor.shape.as_list() == list(shape)
        return np.asarray(session.run(tensor))


class TestInitializers:
    def test_values(self) -> None:
        assert drawn(initializers.Zeros(), [2]).tolist() == [0.0, 0.0]
        assert drawn(initializers.Zeros(tf.int64), [2]).dtype == np.int64
        assert drawn(initializers.Ones(), [2], tf.float64).dtype == np.float64
        assert drawn(initializers.Constant(7), [2, 1]).tolist() == [[7.0], [7.0]]
        assert drawn(initializers.Constant([1, 2, 3]), [2, 2]).tolist() == [[1.0, 2.0], [3.0, 3.0]]
        assert drawn(initializers.Constant(np.eye(2)), [2, 2], tf.float64).tolist() == [[1.0, 0.0], [0.0, 1.0]]
        assert drawn(initializers.Constant(True), [1], tf.bool).tolist() == [True]
        assert drawn(initializers.Identity(2.0), [2, 3]).tolist() == [[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]]

    # the standard deviation that each formula promises for a weight of 3x3x20x30
    FAN_IN, FAN_OUT = 3 * 3 * 20, 3 * 3 * 30

    @pytest.mark.parametrize(
        ("initializer", "deviation", "limit"),
        [
            (initializers.RandomUniform(-2.0, 2.0), 4 / np.sqrt(12), 2.0),
            (initializers.RandomUniform(maxval=1.0), None, 1.0),
            (initializers.RandomNormal(0.0, 3.0), 3.0, None),
            (initializers.TruncatedNormal(0.0, 3.0), 3.0 * initializers.TRUNCATION, 6.0),
            (initializers.UniformUnitScaling(2.0), 2.0 / np.sqrt(180), 2.0 * np.sqrt(3 / 180)),
            (initializers.VarianceScaling(), np.sqrt(1 / FAN_IN), None),
            (initializers.VarianceScaling(2.0, "fan_out", "uniform"), np.sqrt(2 / FAN_OUT), np.sqrt(6 / FAN_OUT)),
            (initializers.VarianceScaling(2.0, "fan_avg", "untruncated_normal"), np.sqrt(4 / 450), None),
            (initializers.VarianceScaling(1.0, "fan_in", "normal"), np.sqrt(1 / FAN_IN), 2.2737 / np.sqrt(FAN_IN)),
            (initializers.GlorotUniform(), np.sqrt(2 / 450), np.sqrt(6 / 450)),
            (initializers.GlorotNormal(), np.sqrt(2 / 450), None),
            (initializers.xavier_initializer(), np.sqrt(2 / 450), np.sqrt(6 / 450)),
            (initializers.xavier_initializer(uniform=False), np.sqrt(2.6 / 450) * initializers.TRUNCATION, None),
            (initializers.contrib_variance_scaling_initializer(), np.sqrt(2.6 / 180) * initializers.TRUNCATION, None),
            (initializers.he_normal(), np.sqrt(2 / FAN_IN), None),
            (initializers.he_uniform(), np.sqrt(2 / FAN_IN), np.sqrt(6 / FAN_IN)),
            (initializers.lecun_normal(), np.sqrt(1 / FAN_IN), None),
            (initializers.lecun_uniform(), np.sqrt(1 / FAN_IN), np.sqrt(3 / FAN_IN)),
        ],
    )
    def test_spread(self, initializer: Any, deviation: float | None, limit: float | None) -> None:
        initializer.seed = 1
        sample = drawn(initializer, [3, 3, 20, 30])
        assert sample.dtype == np.float32
        if deviation is not None:
            assert abs(sample.mean()) < 4 * deviation / np.sqrt(sample.size)
            assert sample.std() == pytest.approx(deviation, rel=0.05)
        if limit is not None:
            assert 0.95 * limit < np.abs(sample).max() <= np.float32(limit)

    def test_small_shapes(self) -> None:
        for shape in ([], [1], [0, 3], [3, 0]):
            assert np.isfinite(drawn(initializers.GlorotUniform(), shape)).all()

    @pytest.mark.parametrize("shape", [[4, 4], [6, 3], [3, 6], [2, 2, 5]])
    def test_orthogonal(self, shape: list[int]) -> None:
        q = drawn(initializers.Orthogonal(2.0), shape, tf.float64).reshape(-1, shape[-1])
        small = q.T @ q if q.shape[0] >= q.shape[1] else q @ q.T
        assert np.allclose(small, 4.0 * np.eye(len(small)))

    def test_same_seed_same_weights(self) -> None:
        first, second = (drawn(initializers.GlorotUniform(seed=3), [4, 4]) for _ in range(2))
        assert np.array_equal(first, second)
        assert not np.array_equal(first, drawn(initializers.GlorotUniform(seed=4), [4, 4]))

    def test_graph_seed(self) -> None:
        weights = []
        for _ in range(2):
            with tf.Graph().as_default():
                random.set_random_seed(5)
                weights.append(values(get_variable("a", [3, 3]), get_variable("b", [3, 3])))
        assert np.array_equal(weights[0], weights[1])
        assert not np.array_equal(weights[0][0], weights[0][1])

    def test_config(self) -> None:
        for made in (
            initializers.GlorotUniform(3), initializers.VarianceScaling(2.0, "fan_out"), initializers.Constant(2),
            initializers.RandomUniform(0, 5, dtype=tf.int32), initializers.Orthogonal(2.0), initializers.Zeros(),
            initializers.xavier_initializer(False),
        ):  # fmt: skip
            assert vars(type(made).from_config(made.get_config())) == vars(made)

    @pytest.mark.parametrize(
        ("build", "match"),
        [
            (lambda: initializers.VarianceScaling(0.0), "must be positive"),
            (lambda: initializers.VarianceScaling(mode="FAN_IN"), "mode"),
            (lambda: initializers.VarianceScaling(distribution="cauchy"), "distribution"),
            (lambda: initializers.contrib_variance_scaling_initializer(mode="fan_in"), "FAN_IN"),
            (lambda: initializers.RandomNormal(dtype=tf.int32), "floating point"),
            (lambda: initializers.Constant({}), "Invalid type"),
            (lambda: initializers.Constant([1, 2, 3])([2]), "does not fit"),
            (lambda: initializers.Constant([1, 2], verify_shape=True)([3]), "does not fit"),
            (lambda: initializers.Identity()([2, 2, 2]), "2D matrices"),
            (lambda: initializers.Orthogonal()([2]), "two-dimensional"),
            (lambda: initializers.GlorotUniform()([None, 2]), "complete shape"),
            (lambda: initializers.Zeros([2, 3]), "dtype"),
        ],
    )
    def test_mistakes(self, build: Callable[[], Any], match: str) -> None:
        with pytest.raises(tf.errors.InvalidArgumentError, match=match):
            build()
