"""Signed packages of TR-069 (May 2004), Appendix E."""
