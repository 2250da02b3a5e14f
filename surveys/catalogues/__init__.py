"""Labels of other people: catalogue (tables read and joined), labels (which column is what), split (stars held out)."""
