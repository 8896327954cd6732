"""`undertow demo`: a network that doesn't learn, examined, mended and compared, with nothing of one's own."""
