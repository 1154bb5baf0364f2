"""Jobs: their life, their store and the dispatcher that hands their work to slots."""
