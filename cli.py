"""The commands of a checkout: the list is in ``spkg/__main__.py``, since it is part of what is installed."""

from spkg.__main__ import COMMANDS, main

__all__ = ["COMMANDS", "main"]

if __name__ == "__main__":
    main()
