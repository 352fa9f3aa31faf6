"""From a package to a trusted package: first its signatures, then its payload."""
