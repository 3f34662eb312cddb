"""The page of `impasto demo`: who paints, what a user hands over, how both come together; `page` alone lays it out."""
