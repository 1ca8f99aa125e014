"""The default graph and the default session of each thread.

Policy: stacks, entered and left by `with`.

State: two stacks per thread.
"""

from __future__ import annotations

import threading
from typing import Any

from graphflow.errors import FailedPreconditionError, InvalidArgumentError


class Defaults(threading.local):
    """The stacks of one thread."""

    def __init__(self) -> None:
        self.graphs: list[Any] = []
        self.sessions: list[Any] = []


stacks = Defaults()


def get_default_session() -> Any:
    """The innermost session entered by `with`, or None."""
    sessions = stacks.sessions
    return sessions[-1] if sessions else None


def session_for(element: Any, session: Any) -> Any:
    """The session to run an element in."""
    if session is None:
        session = get_default_session()
    if session is not None and not hasattr(session, "run"):
        raise InvalidArgumentError("session takes a tf.Session", got=repr(session)[:80])
    if session is None:
        raise FailedPreconditionError(
            f"no session to run {element.name!r} in",
            hint="`with tf.Session() as sess:` makes a default session; or pass session=",
        )
    return session
