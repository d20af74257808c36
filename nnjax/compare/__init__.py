"""Reports: what experiments show, as a page. An edge: no other module of the package imports it."""
