"""What PyTorch makes of programs with gradients: `python -m tests.gradient_answers` writes it, where torch is.

State: none.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

from tests import function_programs, gradient_programs
from tests.eager_programs import report

ANSWERS = Path(__file__).with_name("gradient_answers.json")
PROGRAMS: dict[str, str] = {
    **gradient_programs.PROGRAMS,
    **{name: function_programs.FUNCTIONS + text for name, text in function_programs.PROGRAMS.items()},
}


def main() -> None:
    """Write PyTorch's answers."""
    import torch
    import torch.autograd.functional  # which torch does not import itself

    def tried(program: str) -> Any:
        try:
            return report(torch, program)
        except (RuntimeError, ValueError, TypeError, IndexError):
            return "refused"

    warnings.simplefilter("ignore")
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(tried(text))}" for name, text in PROGRAMS.items())
    ANSWERS.write_text("{\n" + lines + "\n}\n")


if __name__ == "__main__":
    main()
