"""The command line: options in, exit statuses out, no decisions of its own; one module per command."""
