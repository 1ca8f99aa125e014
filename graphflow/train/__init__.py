"""`tf.train`."""
