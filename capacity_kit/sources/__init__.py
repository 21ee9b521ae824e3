"""Where measurements come from: each source yields the same plain frame of them."""
