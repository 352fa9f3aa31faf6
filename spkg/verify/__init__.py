"""From a package to a trusted one: its signatures, then its payload."""
