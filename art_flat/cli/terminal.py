"""Text output on terminals and pipes whose encoding lacks some characters."""

from __future__ import annotations

import codecs
import io
import sys
import unicodedata

_HANDLER = "art_flat.spell_out"
_SPELLED = {
    **{"δ": "delta", "ε": "epsilon", "κ": "kappa", "φ": "phi", "λ": "lambda", "ℓ": "loss", "Δ": "Delta"},
    **{"∞": "inf", "‖": "||", "≤": "<=", "≥": ">=", "≠": "!=", "≈": "~", "→": "->", "×": "x", "·": "*"},
    **{
        "−": "-",
        "–": "-",
        "—": "-",
        "…": "...",
        "“": '"',
        "”": '"',
        "‘": "'",
        "’": "'",
        "†": "+",
        "±": "+/-",
    },
    **{"√": "sqrt", "∑": "sum", "Σ": "sum", "∈": "in", "■": "#", "•": "*", "✓": "yes", "✗": "no"},
}


def use_safe_streams() -> None:
    """Make standard output and error replace characters that their encoding lacks, such as δ by "delta"."""
    codecs.register_error(_HANDLER, _transliterate)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_HANDLER)


def _transliterate(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(map(_ascii, text)), error.end


def _ascii(character: str) -> str:
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return _SPELLED.get(character) or plain or "?"
