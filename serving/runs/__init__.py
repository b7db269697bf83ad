"""Labels drops that were posted to the service: the routes, and the worker beside the gateways."""
