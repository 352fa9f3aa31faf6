"""CWMP as TR-069 has it: the messages between a device and its ACS, whatever carries them."""
