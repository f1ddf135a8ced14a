"""Where a token stands in its piece, and the angles that tell it: of use to plain and to compiled operators."""
