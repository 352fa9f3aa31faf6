"""CWMP as TR-069 has it: what goes between a device and its ACS, whoever carries it."""
