"""Helpers that all other folders use; they know neither packages nor vouchers."""
