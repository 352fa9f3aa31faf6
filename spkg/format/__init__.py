"""The Signed Package Format (TR-069 Appendix E): what the bytes mean, not whether to trust them."""
