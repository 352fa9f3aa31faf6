"""The versions of a ledger's tables, and the steps between them, which Alembic takes in order.

A step that was released is never changed.
"""
