"""The side of the server (ACS): lists of devices, serial numbers, issuing."""
