"""Installing a trusted package in a root: plan the changes, then make them all or nothing, or in place."""
