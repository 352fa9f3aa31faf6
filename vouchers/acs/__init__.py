"""What a server does (ACS): lists of devices, serial numbers, issuing."""
