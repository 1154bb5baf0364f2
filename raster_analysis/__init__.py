"""Deep learning on imagery: detect objects and classify pixels with packaged models."""
