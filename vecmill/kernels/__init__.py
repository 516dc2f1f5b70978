"""Compiled inner loops, one family a file; importing them compiles nothing."""
