"""A preview: places of a source restored as a run would, shown beside the source in a picture and a clip."""
