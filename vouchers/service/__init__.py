"""The service of a server (ACS): vouchers over HTTP, in front of one ledger (docs/service.md)."""
