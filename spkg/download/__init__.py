"""Downloads: a process of its own talks to the server; what it brings is trusted no more than the server.

``location`` is what is asked for, ``channel`` how the two processes talk, ``downloader`` the one that
fetches, ``download`` the one that reads; ``web``, ``ftp`` and ``tftp`` know a protocol each.
"""
