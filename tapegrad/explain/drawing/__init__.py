"""Pictures of explanations: what is drawn (`sketch`), by graphviz, or by a layout and a canvas of our own."""
