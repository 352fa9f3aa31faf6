"""The agent of a gateway: in touch with its ACS, packages applied, vouchers taken (TR-069)."""
