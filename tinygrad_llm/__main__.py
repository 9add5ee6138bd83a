"""`python -m tinygrad_llm` is `tllm`."""

import sys

from tinygrad_llm.cli import main

if __name__ == "__main__":
    sys.exit(main())
