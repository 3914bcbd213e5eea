"""The anomaly score of a variational autoencoder that knows the backgrounds alone."""
