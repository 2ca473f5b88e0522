"""ECG encoders of others, from weights that the user holds; the contract is that of our own encoder."""

from COFGeneratorLib.generator.encoders.contract import KINDS, load_foreign_encoder

__all__ = ["KINDS", "load_foreign_encoder"]
