"""`python -m benchmarks`: the same as `python -m graphflow bench`.

State: none.
"""

import sys

from graphflow.cli import main

if __name__ == "__main__":
    sys.exit(main(["bench", *sys.argv[1:]]))
