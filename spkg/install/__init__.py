"""A trusted package and a root: plan, then change all or nothing, or in place."""
