"""The parameters of a device: its own, and those of the programs that know the rest of it (Annex B)."""
