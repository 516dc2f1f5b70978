"""fastText's n-grams, hash, files and vectors of unseen words, against gensim's."""

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from gensim.models import FastText
from gensim.models.fasttext import ft_hash_bytes, ft_ngram_hashes, load_facebook_model, save_facebook_model
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.subwords import fnv1a_signed
from vecmill.vectors.fasttext_format import (
    FasttextModel,
    load_fasttext_bin,
    load_fasttext_vec,
    save_fasttext_bin,
    save_fasttext_vec,
)
from vecmill.vectors.subword_ngrams import ngram_table
from vecmill.vectors.subword_vectors import SubwordVectors
from vecmill.vectors.word_vectors import WordVectors

UNSEEN = ["straßen", "東京都", "walkings", "x", "emoji🙂s", "no\u00a0break", "zzz"]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.getLogger("gensim").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", ResourceWarning)
        yield


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=40))
def test_hash(data: bytes) -> None:
    assert fnv1a_signed(data) == ft_hash_bytes(data)


@settings(deadline=None, max_examples=300)
@given(
    word=st.text(st.characters(codec="utf-8"), max_size=20).filter(lambda word: word != "</s>"),
    lengths=st.tuples(st.integers(0, 5), st.integers(1, 8)),
    buckets=st.sampled_from([1, 1_000, 2_000_000]),
)
def test_buckets_of_ngrams(word: str, lengths: tuple[int, int], buckets: int) -> None:
    min_n, max_n = lengths
    ours = ngram_table([word], min_n=min_n, max_n=max_n, subword_buckets=buckets)
    assert ours.buckets.tolist() == list(ft_ngram_hashes(word, min_n, max_n, buckets))


def trained(sg: int, **changes: object) -> FastText:
    sentences = [["walk", "walks", "walking", "straße", "東京"], ["walk", "no\u00a0break", "emoji🙂", "-1.5"]] * 10
    chosen = {"vector_size": 6, "min_n": 2, "max_n": 4, "bucket": 50, "min_count": 1, "epochs": 2, "workers": 1}
    return FastText(sentences, sg=sg, seed=3, **(chosen | changes))


def assert_same_vectors(ours: SubwordVectors, theirs: FastText) -> None:
    assert list(ours.words) == theirs.wv.index_to_key
    for word in [*ours.words, *UNSEEN]:
        np.testing.assert_allclose(ours.compose([word])[0][0], theirs.wv[word], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("sg", [0, 1])
def test_bin_from_gensim(sg: int, tmp_path: Path) -> None:
    theirs = trained(sg, window=3, negative=7, sample=0.01)
    save_facebook_model(theirs, str(tmp_path / "m.bin"))
    model = load_fasttext_bin(tmp_path / "m.bin")
    assert_same_vectors(model.vectors, theirs)
    assert model.context_vectors is not None
    np.testing.assert_array_equal(model.context_vectors, theirs.syn1neg)
    assert model.vectors.word_rows.counts is not None
    assert model.vectors.word_rows.counts.tolist() == [theirs.wv.get_vecattr(w, "count") for w in model.vectors.words]
    assert (model.kind, model.window, model.negative_samples, model.sample, model.epochs, model.n_tokens) == (
        *("skipgram" if sg else "cbow", 3, 7, 0.01, 2),
        theirs.corpus_total_words,
    )


def our_model() -> FasttextModel:
    rng = np.random.default_rng(8)
    words = ["walk", "straße", "東京", "emoji🙂", "no\u00a0break", "walks"]
    used = np.unique(ngram_table(words, min_n=3, max_n=6, subword_buckets=500).buckets)
    rows = WordVectors(words, rng.normal(size=(6, 4)).astype(np.float32), [9, 7, 7, 7, 2, 1])
    bucket_rows = rng.normal(size=(used.size, 4)).astype(np.float32)
    vectors = SubwordVectors(rows, used, bucket_rows, min_n=3, max_n=6, subword_buckets=500)
    context_vectors = rng.normal(size=(6, 4)).astype(np.float32)
    return FasttextModel(vectors, context_vectors, kind="cbow", window=4, epochs=3, negative_samples=6, sample=0.5)


def test_bin_to_gensim_and_back(tmp_path: Path) -> None:
    ours = our_model()
    save_fasttext_bin(ours, tmp_path / "ours.bin")
    theirs = load_facebook_model(str(tmp_path / "ours.bin"))
    assert_same_vectors(ours.vectors, theirs)
    np.testing.assert_array_equal(theirs.syn1neg, ours.context_vectors)
    assert (theirs.sg, theirs.window, theirs.epochs, theirs.negative, theirs.sample) == (0, 4, 3, 6, 0.5)
    save_facebook_model(theirs, str(tmp_path / "theirs.bin"))
    assert (tmp_path / "theirs.bin").read_bytes() == (tmp_path / "ours.bin").read_bytes().replace(
        # gensim does not know the least count that the words had
        b"\x03\0\0\0\x05\0\0\0\x06\0\0\0",
        b"\x03\0\0\0" + int(theirs.min_count).to_bytes(4, "little") + b"\x06\0\0\0",
    )


def test_bin_without_ngrams(tmp_path: Path) -> None:
    theirs = trained(1, max_n=0, min_n=0)
    save_facebook_model(theirs, str(tmp_path / "m.bin"))
    ours = load_fasttext_bin(tmp_path / "m.bin").vectors
    assert not ours.ngrams_of(ours.words).buckets.size
    np.testing.assert_array_equal(ours.word_vectors().vectors, theirs.wv.vectors)


def test_vec_both_ways(tmp_path: Path) -> None:
    theirs = trained(1)
    theirs.wv.save_word2vec_format(str(tmp_path / "theirs.vec"))
    ours = load_fasttext_vec(tmp_path / "theirs.vec")
    assert list(ours.words) == theirs.wv.index_to_key
    np.testing.assert_allclose(ours.vectors, theirs.wv.vectors, rtol=1e-6)
    save_fasttext_vec(our_model().vectors, tmp_path / "ours.vec")
    from gensim.models import KeyedVectors

    back = KeyedVectors.load_word2vec_format(str(tmp_path / "ours.vec"))
    assert back.index_to_key == list(our_model().vectors.words)
    np.testing.assert_array_equal(back.vectors, our_model().vectors.word_vectors().vectors)
