"""The Signed Package Format (TR-069 Appendix E): what octets say, and nothing of whether to believe them."""
