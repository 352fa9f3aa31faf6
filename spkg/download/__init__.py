"""Downloads: a separate process talks to the server; its data is trusted no more than the server.

``source`` distinguishes files from URLs and ``url`` parses URLs.  ``worker`` is the process that downloads,
``client`` the one that reads, and ``worker_protocol`` how they talk.  ``http``, ``ftp`` and ``tftp`` know
one protocol each.
"""
