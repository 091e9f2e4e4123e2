"""References to user code, `package.module:attribute`: found without importing, or imported."""

from orchestrator.symbols.find import find_symbol, symbol_fingerprint
from orchestrator.symbols.frames import user_trace
from orchestrator.symbols.reference import Reference, check_reference
from orchestrator.symbols.resolve import resolve_symbol
from orchestrator.symbols.syntax import Symbol

__all__ = [
    "Reference",
    "Symbol",
    "check_reference",
    "find_symbol",
    "resolve_symbol",
    "symbol_fingerprint",
    "user_trace",
]
