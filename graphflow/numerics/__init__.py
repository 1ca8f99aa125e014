"""What backends share of the art of computing: coefficients and geometry, as plain values."""
