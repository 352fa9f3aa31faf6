"""Results for people and for programs: lines and JSON documents from the same records.

One module a command, so that each imports what it shows and nothing else.
"""
