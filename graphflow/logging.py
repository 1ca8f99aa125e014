"""`tf.logging`: Python's logger "graphflow" under TensorFlow 1's names.

State: none of ours; the level is the logger's.
"""

from __future__ import annotations

import logging
from typing import Any

DEBUG, INFO, WARN, ERROR, FATAL = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL

_logger = logging.getLogger("graphflow")
debug = _logger.debug
info = _logger.info
warn = warning = _logger.warning
error = _logger.error
fatal = _logger.critical


def set_verbosity(v: Any) -> None:
    """Show messages of this level and above."""
    _logger.setLevel(v)


def get_verbosity() -> int:
    """The level from which messages are shown."""
    return _logger.getEffectiveLevel()
