"""Trainers of word vectors: configuration, threads and epochs around the kernels, the ``train`` stage."""
