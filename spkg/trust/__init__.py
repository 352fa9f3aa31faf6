"""Keys, certificates, and the policy that decides which signatures count."""
