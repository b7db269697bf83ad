"""What a model is: types, cards, adapters and the engine that runs them."""
