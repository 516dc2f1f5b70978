"""Which language a document is in, told offline by py3langid, which carries its model (4.6 MB, 140 languages).

Source: Lui and Baldwin 2012 (langid.py: naive Bayes over byte n-grams), in Barbaresi's fork with a new model. What is
left out: several languages in one document; the beginning decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from importlib import metadata
from pathlib import Path
from typing import Any

from vecmill.errors import ConfigError

# The language of a text that says too little to tell.
UNDECIDED = "und"

_LIBRARY = "py3langid"
_MODEL_PATH = "py3langid/data/model.npz.xz"
# Half of the probability for one language of 140; shares of short and mixed texts lie far below.
_MIN_CONFIDENCE = 0.5
# The walk through a text is plain Python: this much of it decides.
_JUDGED_CHARS = 500


def language_model() -> tuple[str, Path]:
    """Name (with the version of the library) and path of the model file.

    Raises
    ------
    ConfigError : py3langid is not installed
    """
    try:
        found = metadata.distribution(_LIBRARY)
    except metadata.PackageNotFoundError as error:
        raise _not_installed() from error
    return f"{_LIBRARY} {found.version}", Path(str(found.locate_file(_MODEL_PATH)))


class LanguageFinder:
    """Tells the language of texts; reads its model once (about 0.6 s and 100 MB), then holds no state.

    Raises
    ------
    ConfigError : py3langid is not installed, or ``wanted`` has a language that the model does not know
    """

    def __init__(self, wanted: Sequence[str] = ()) -> None:
        try:
            from py3langid.langid import MODEL_FILE, LanguageIdentifier
        except ImportError as error:
            raise _not_installed() from error
        # Confidence is a probability: normalised, or a threshold would mean nothing.
        self._identifier: Any = LanguageIdentifier.from_model_file(
            MODEL_FILE, norm_probs=True, min_confidence=_MIN_CONFIDENCE
        )
        known = [*self._identifier.labels, UNDECIDED]
        for name in wanted:
            if name not in known:
                # Three letters mostly begin with the two: deu, eng, fra.
                near = [name[:2]] if name[:2] in known else get_close_matches(name, known, n=1, cutoff=0.5)
                raise ConfigError(
                    f"corpus.languages: no language is called {name!r}",
                    expected=f"ISO 639 codes, of {', '.join(sorted(known))}",
                    todo=f"did you mean {near[0]!r}?" if near else "take codes from this list",
                )

    def languages_of(self, texts: Sequence[str]) -> list[str]:
        """ISO 639 code of each text's language by its first 500 characters, ``und`` where none is half certain."""
        return [str(self._identifier.classify(text[:_JUDGED_CHARS])[0]) for text in texts]


def _not_installed() -> ConfigError:
    return ConfigError(
        "corpus.languages and corpus.identify_language need the library py3langid, which is not installed",
        todo="pip install 'vecmill[language]', or py3langid alone",
    )
