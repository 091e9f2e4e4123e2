"""Handwritten digits: scikit-learn's 1,797 real images of 8 x 8 pixels, for a small CNN."""
