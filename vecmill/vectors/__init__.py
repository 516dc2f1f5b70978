"""Finished word vectors: the value type, its files, lookup and neighbours."""
