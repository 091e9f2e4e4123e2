"""Ready recipes, a folder each: how a data set is prepared, transformed and learnt."""
