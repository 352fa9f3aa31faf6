"""Run ``spkg`` from a checkout.  The list of commands is in ``spkg/__main__.py``, which is also installed."""

from spkg.__main__ import COMMANDS, main

__all__ = ["COMMANDS", "main"]

if __name__ == "__main__":
    main()
