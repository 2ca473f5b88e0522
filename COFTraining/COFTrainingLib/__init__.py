"""The upper floor: cohorts, training, evaluation and studies of what ``COFGeneratorLib`` generates with."""
