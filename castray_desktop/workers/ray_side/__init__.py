"""What runs where Ray is. Standard library and Ray only; code valid from Python 3.9."""
