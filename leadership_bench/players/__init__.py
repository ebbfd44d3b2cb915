"""Players: the candidates of each Python library, in processes of their own."""
