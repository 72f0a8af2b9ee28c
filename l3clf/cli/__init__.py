"""The command line: one module a command; it parses, calls the library and prints, and computes nothing."""
