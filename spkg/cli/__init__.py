"""The command line: options in, exit statuses out, and no decision of its own; a module a command."""
