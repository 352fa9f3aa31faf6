"""Downloads: a process of its own talks to the server; what it brings is trusted no more than the server.

``source`` tells a file from a URL; ``url`` is what is asked for, ``worker_protocol`` how the two processes
talk, ``worker`` the one that downloads, ``client`` the one that reads; ``http``, ``ftp`` and ``tftp`` know a
protocol each.
"""
