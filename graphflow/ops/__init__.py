"""The vocabulary: every op, by family, under TensorFlow 1's names."""
