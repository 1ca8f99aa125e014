"""Bad inputs by subject: every module holds `ROWS`, and the directory is collected into one table.

State: none; the table is built once, on import.
"""

from __future__ import annotations

from tests.bad_inputs import (
    casts,
    checkpoints,
    constants,
    control,
    feeds,
    fetches,
    gradients,
    names,
    python_use,
    scopes,
    sessions,
    shapes,
    structure,
    variables,
)
from tests.bad_inputs.world import Bad

MODULES = (
    casts, checkpoints, constants, control, feeds, fetches, gradients, names, python_use, scopes, sessions, shapes,
    structure, variables,
)  # fmt: skip

ROWS: dict[str, Bad] = {}
for _module in MODULES:
    for _row in _module.ROWS:
        _id = f"{_module.__name__.rpartition('.')[2]}-{_row.id}"
        assert _id not in ROWS, f"two rows named {_id}"
        ROWS[_id] = _row
