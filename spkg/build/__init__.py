"""From a manifest to a signed package, and back."""
