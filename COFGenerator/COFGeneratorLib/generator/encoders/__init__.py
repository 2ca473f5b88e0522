"""ECG encoders of others, from weights that the user holds; the contract is that of our own encoder."""

from COFGeneratorLib.lazy import public

__getattr__, __all__ = public(__name__, {"COFGeneratorLib.generator.encoders.contract": "KINDS load_foreign_encoder"})
