"""Evaluation: the evaluator, predictions, results, and the files that are made of them."""
