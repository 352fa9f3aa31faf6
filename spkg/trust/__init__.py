"""Keys, certificates, and the policy that says whose signature counts."""
