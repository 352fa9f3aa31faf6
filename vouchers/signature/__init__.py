"""Vouchers as XML: their shape, their signatures (XML-Signature)."""
