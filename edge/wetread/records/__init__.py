"""The nouns every stage shares: frozen, versioned, without input or output.

Import them from their own modules; ``volume`` and ``reading`` need numpy, the others only the standard library.
"""
