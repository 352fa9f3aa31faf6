"""XML and XML-Signature: the only package that uses lxml and signxml."""
