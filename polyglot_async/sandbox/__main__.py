"""`python -m polyglot_async.sandbox`."""

import sys

from ._program import main

if __name__ == "__main__":
    sys.exit(main())
