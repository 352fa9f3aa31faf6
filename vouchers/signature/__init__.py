"""Vouchers as XML: their shape and their signatures (XML-Signature)."""
