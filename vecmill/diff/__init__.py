"""What changed between two sets of word vectors, beyond what training again changes."""
