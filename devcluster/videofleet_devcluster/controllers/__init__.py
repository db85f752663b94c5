"""The control loops of a cluster: pure plans over plain objects, and one thin shell that performs them."""
