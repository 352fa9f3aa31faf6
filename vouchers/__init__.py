"""Signed vouchers of TR-069 Appendix C: what an Option is, and how long it lives."""
