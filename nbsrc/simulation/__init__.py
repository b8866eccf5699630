"""A made-up company, what its sensors write, and the incidents among it.

May import: `nbsrc.support`, nothing else of `nbsrc`. A new incident is a function of `scenarios`
(`unforeseen`: for reports only) and a row of its table; a new product is a file of `products`."""
