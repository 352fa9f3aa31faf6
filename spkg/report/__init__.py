"""Results for people and for programs: lines and JSON documents from the same records.

One module per command, so that each imports only what it shows.
"""
