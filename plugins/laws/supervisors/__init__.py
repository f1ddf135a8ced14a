"""Laws of supervisors, over short runs on music made for them."""
