"""How good a trained network is, beside models that know less."""
