"""Models: packages turned into something that predicts."""
