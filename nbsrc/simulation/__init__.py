"""A made-up company, what its sensors write, and the incidents among it.

May import: `nbsrc.support`, nothing else of `nbsrc`. A new incident is a function of `scenarios`
and a row of its table; a new product that writes events is a file of `products`."""
