"""What tests of several rooms share: fixtures (loaded by ``Testing/conftest.py``) and writers of files."""
