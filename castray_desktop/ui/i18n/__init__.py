"""Languages: translation at run time, and sizes, rates and times as people read them."""
