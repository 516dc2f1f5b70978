"""Words of a corpus: counted, sampled, and encoded to ids in a memory-mapped store."""
