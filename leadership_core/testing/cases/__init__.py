"""The cases of the contract, by subject."""
