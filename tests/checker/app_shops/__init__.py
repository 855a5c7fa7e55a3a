"""Ordinary shops that know nothing of us: each keeps its orders in a way of its own.

Those in modules named after a mistake hold just that one; `right_*` hold none.
"""
