"""Hyperparameter search: spaces over configuration fields, trials on growing shares of the text, finalists."""
