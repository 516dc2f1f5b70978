"""Readers, one format a file: each turns an open source into documents."""
