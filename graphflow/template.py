"""`make_template`: a function whose variables are made at its first call and shared by all later ones.

State: each template holds its variable scope and whether its variables exist.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphflow.errors import DTypeError, InvalidArgumentError
from graphflow.variable_scope import VariableScope, variable_scope
from graphflow.variables import global_variables, trainable_variables


class Template:
    """A function with variables of its own."""

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        fixed: dict[str, Any],
        create_scope_now: bool = False,
        unique_name: str | None = None,
        custom_getter: Any = None,
    ) -> None:
        if not name or not isinstance(name, str):
            raise InvalidArgumentError("a template needs a name", got=repr(name))
        if not callable(function):
            raise DTypeError("a template is made of a function", got=repr(function)[:80])
        self.name = name
        self._function = function
        self._fixed = fixed
        self._unique_name = unique_name
        self._custom_getter = custom_getter
        self._made = False
        self._scope: VariableScope | None = None
        if create_scope_now:
            with self._new_scope() as self._scope:
                pass

    def _new_scope(self) -> variable_scope:
        return variable_scope(self._unique_name, self.name, custom_getter=self._custom_getter)

    @property
    def variable_scope(self) -> VariableScope | None:
        """The scope of the variables; None before the first call."""
        return self._scope

    var_scope = variable_scope

    @property
    def global_variables(self) -> list[Any]:
        """The global variables of the template."""
        return [] if self._scope is None else self._scope.global_variables()

    variables = global_variables

    @property
    def trainable_variables(self) -> list[Any]:
        """The trainable variables of the template."""
        return [] if self._scope is None else self._scope.trainable_variables()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function; every call after the first finds the variables of the first."""
        given = {**self._fixed, **kwargs}
        if self._scope is None:
            with self._new_scope() as self._scope:
                result = self._function(*args, **given)
        else:
            with variable_scope(self._scope, reuse=self._made):
                before = len(global_variables()), len(trainable_variables())
                result = self._function(*args, **given)
                if self._made and before != (len(global_variables()), len(trainable_variables())):
                    raise InvalidArgumentError(
                        f"template {self.name!r} made a new variable when it was called again",
                        hint="inside a template use tf.get_variable, which finds variables again; tf.Variable does not",
                    )
        self._made = True
        return result


def make_template(
    name_: str,
    func_: Callable[..., Any],
    create_scope_now_: bool = False,
    unique_name_: str | None = None,
    custom_getter_: Any = None,
    **kwargs: Any,
) -> Template:
    """`func_` with `kwargs` fixed, as a function whose variables are made once, under the scope `name_`."""
    return Template(name_, func_, kwargs, create_scope_now_, unique_name_, custom_getter_)
