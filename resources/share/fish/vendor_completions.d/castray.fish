# The program has the script itself: this is read at the first Tab.
castray completion fish 2>/dev/null | source
