"""Inputs damaged by somebody who knows their format: fields, elements and members in place of bytes.

Every input is made by its family's name and its number alone, so that a find can be made again.
"""
