"""The commands of ``spkg voucher``, a module each."""
