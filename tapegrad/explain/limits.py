"""From where on figures of a layer are flagged."""

#: an adjoint so many times smaller or larger than that of the last layer, by root mean square
VANISHING, EXPLODING = 1e-3, 1e3
#: the share of elements that are saturated, or of units that are never active
DEAD = SATURATED = 0.5
#: a sigmoid is saturated where its slope is below this share of its greatest
FLAT = 0.01
